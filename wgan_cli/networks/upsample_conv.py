"""Plain 3×3 convolutions: the generator upsamples before them, and the critic uses strides and dropout.

Both halve the image size, rounding up: the generator until at most 8 pixels are left, the critic until at most 2. The
generator then doubles each size by nearest neighbours and crops where the next size is odd.

At 32 pixels, with one channel, ``normalization=batch`` and ``normalization_eps=0.8``, these are the networks of
PyTorch-GAN's dcgan.py and relativistic_gan.py.
"""

from functools import partial
from typing import Annotated

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import add_block, halve, initialize, make_norm, run_in_float32, widen
from wgan_cli.networks.options import Initialization, Normalization, Positive, Width
from wgan_cli.networks.players import Critic, Generator
from wgan_cli.parameters import Range

Dropout = Annotated[float, Range(low=0, below=1)]


class UpsampleConvGenerator(Generator):
    """Maps latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        width: Channels of the last hidden layer. All layers before it have 2 · width.
        normalization: Of every layer but the last. The first keeps an eps of 1e-5, as in the source.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        latent_dim: Width = 100,
        width: Width = 32,
        normalization: Normalization = "batch",
        normalization_eps: Positive = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.first = LatentAndClass(latent_dim, num_classes)
        sizes = [image_size, *halve(image_size, 8, round_up=True)]
        size, inputs = sizes.pop(), 2 * width
        linear = nn.Linear(self.first.features, inputs * size**2)
        unflatten = nn.Unflatten(1, (inputs, size, size))
        self.layers = nn.Sequential()
        add_block(self.layers, size, linear=linear, unflatten=unflatten, norm=make_norm(normalization, inputs))
        for size in reversed(sizes):
            outputs = width if size == image_size else 2 * width
            up, conv = nn.Upsample(size), nn.Conv2d(inputs, outputs, 3, padding=1)
            norm = make_norm(normalization, outputs, normalization_eps)
            add_block(self.layers, size, up=up, conv=conv, norm=norm, activation=nn.LeakyReLU(0.2, inplace=True))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        initialize(self, initialization, initialization_std)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return run_in_float32(self.last, self.layers(self.first(latents, classes))).tanh()


class UpsampleConvCritic(Critic):
    """Maps images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        width: Channels of the first layer. They double from layer to layer, up to 8 · width.
        dropout: Probability of dropping a channel of an image in training, after every layer but the last.
        normalization: Of every layer but the first and the last, after the dropout.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        width: Width = 16,
        dropout: Dropout = 0.25,
        normalization: Normalization = "none",
        normalization_eps: Positive = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        size, inputs = image_size, channels
        for half, outputs in widen(halve(image_size, 2, round_up=True), width):
            conv, activation = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)
            norm = None if size == image_size else make_norm(normalization, outputs, normalization_eps)
            add_block(self.layers, half, conv=conv, activation=activation, dropout=nn.Dropout2d(dropout), norm=norm)
            size, inputs = half, outputs
        self.last = Score(partial(nn.Linear, inputs * size**2), num_classes)
        initialize(self, initialization, initialization_std)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        return self.last(self.layers(images).flatten(1), classes)
