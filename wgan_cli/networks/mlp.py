"""Multi-layer perceptrons over flattened images."""

import math
from functools import partial

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import (
    ACTIVATIONS,
    Activation,
    Epsilon,
    Initialization,
    Normalization,
    Std,
    Width,
    Widths,
    in_float32,
    initialize,
    normalize,
)
from wgan_cli.players import Critic, Generator


class MLPGenerator(Generator):
    """Latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        image_size: Height and width in pixels.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        latent_dim: Dimensions of a latent.
        hidden_sizes: Width of each hidden layer, from the latent's side.
        activation: After each hidden layer.
        normalization: Of each hidden layer but the first.
        normalization_eps: Added to the variance.
        initialization: How the weights begin.
        initialization_std: Standard deviation for ``initialization=normal``.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        latent_dim: Width = 100,
        hidden_sizes: Widths = (256, 512, 1024),
        activation: Activation = "leaky_relu",
        normalization: Normalization = "batch",
        normalization_eps: Epsilon = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Std = 0.02,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.image_shape = (channels, image_size, image_size)
        self.first = LatentAndClass(latent_dim, num_classes)
        inputs = self.first.features
        self.layers = nn.Sequential(*_hidden_layers(inputs, hidden_sizes, activation, normalization, normalization_eps))
        self.last = nn.Linear((inputs, *hidden_sizes)[-1], math.prod(self.image_shape))
        initialize(self, initialization, initialization_std)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return in_float32(self.last, self.layers(self.first(latents, classes))).tanh().view(-1, *self.image_shape)


class MLPCritic(Critic):
    """Images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        image_size: Height and width in pixels.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        hidden_sizes: Width of each hidden layer, from the image's side.
        activation: After each hidden layer.
        normalization: Of each hidden layer but the first.
        normalization_eps: Added to the variance.
        initialization: How the weights begin.
        initialization_std: Standard deviation for ``initialization=normal``.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        hidden_sizes: Widths = (512, 256),
        activation: Activation = "leaky_relu",
        normalization: Normalization = "none",
        normalization_eps: Epsilon = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Std = 0.02,
    ) -> None:
        super().__init__()
        inputs = channels * image_size * image_size
        self.layers = nn.Sequential(*_hidden_layers(inputs, hidden_sizes, activation, normalization, normalization_eps))
        self.last = Score(partial(nn.Linear, (inputs, *hidden_sizes)[-1]), num_classes)
        initialize(self, initialization, initialization_std)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        scores: Tensor = self.last(self.layers(images.flatten(1)), classes)
        return scores


def _hidden_layers(
    inputs: int, sizes: tuple[int, ...], activation: Activation, normalization: Normalization, eps: float
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index, size in enumerate(sizes):
        layers.append(nn.Linear(inputs, size))
        if index > 0:
            layers += normalize(normalization, size, eps, images=False)
        layers.append(ACTIVATIONS[activation]())
        inputs = size
    return layers
