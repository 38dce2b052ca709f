"""Multi-layer perceptrons, for samples of any shape."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import chain, initialize, make_norm, run_in_float32
from wgan_cli.networks.options import Activation, Initialization, Normalization, Positive, Width, Widths
from wgan_cli.networks.players import Critic, Generator

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
}


class MLPGenerator(Generator):
    """Maps latents (batch, latent_dim) to samples (batch, *sample_shape) in [-1, 1].

    Args:
        hidden_sizes: Units of each hidden layer, starting next to the latent. Empty for a linear map.
        activation: After each hidden layer.
        normalization: Of every hidden layer but the first.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        num_classes: int | None = None,
        latent_dim: Width = 100,
        hidden_sizes: Widths = (256, 512, 1024),
        activation: Activation = "leaky_relu",
        normalization: Normalization = "batch",
        normalization_eps: Positive = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes, self.sample_shape = latent_dim, num_classes, sample_shape
        self.first = LatentAndClass(latent_dim, num_classes)
        sizes = (self.first.features, *hidden_sizes)
        self.layers = _make_hidden_layers(sizes, activation, normalization, normalization_eps)
        self.last = nn.Linear(sizes[-1], math.prod(sample_shape))
        initialize(self, initialization, initialization_std)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one sample for each latent."""
        flat = run_in_float32(self.last, self.layers(self.first(latents, classes))).tanh()
        return flat.view(-1, *self.sample_shape)


class MLPCritic(Critic):
    """Maps samples (batch, *sample_shape) to unbounded scores (batch,).

    Args:
        hidden_sizes: Units of each hidden layer, starting next to the sample. Empty for a linear map.
        activation: After each hidden layer.
        normalization: Of every hidden layer but the first.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        num_classes: int | None = None,
        hidden_sizes: Widths = (512, 256),
        activation: Activation = "leaky_relu",
        normalization: Normalization = "none",
        normalization_eps: Positive = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        sizes = (math.prod(sample_shape), *hidden_sizes)
        self.layers = _make_hidden_layers(sizes, activation, normalization, normalization_eps)
        self.last = Score(partial(nn.Linear, sizes[-1]), num_classes)
        initialize(self, initialization, initialization_std)

    def forward(self, samples: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each sample."""
        return self.last(self.layers(samples.flatten(1)), classes)


def _make_hidden_layers(
    sizes: tuple[int, ...], activation: Activation, normalization: Normalization, eps: float
) -> nn.Sequential:
    """Make the layers between each two neighbouring sizes."""
    layers = nn.Sequential()
    for index, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        linear = nn.Linear(inputs, outputs)
        norm = make_norm(normalization, outputs, eps, images=False) if index > 1 else None
        layers.add_module(f"hidden{index}", chain(linear=linear, norm=norm, activation=ACTIVATIONS[activation]()))
    return layers
