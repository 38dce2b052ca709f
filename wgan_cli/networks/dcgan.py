"""DCGAN's convolutional networks, for any image size from 8 to 256.

The critic halves the image, rounding down, until 3 to 5 pixels are left. The generator is its mirror image. At 64
pixels these are the networks of the WGAN authors' code.

Source: Radford et al. 2016, "Unsupervised representation learning with DCGANs".
"""

from functools import partial

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import add_block, halve, initialize, make_norm, run_in_float32, widen
from wgan_cli.networks.options import Initialization, Normalization, Positive, Width
from wgan_cli.networks.players import Critic, Generator

SMALLEST = 5  # a single convolution turns an image of at most this size into one pixel


class DCGANGenerator(Generator):
    """Maps latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        width: Channels of the last hidden layer. They double from layer to layer towards the latent, up to 8 · width.
        normalization: Of every layer but the last.
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
        initialization: Initialization = "normal",
        initialization_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.first = LatentAndClass(latent_dim, num_classes)
        self.layers = nn.Sequential()
        inputs = self.first.features
        for size, outputs in reversed(widen(halve(image_size, SMALLEST, round_up=False), width)):
            conv = nn.ConvTranspose2d(inputs, outputs, *_choose_kernel(size), bias=False)
            norm = make_norm(normalization, outputs, normalization_eps)
            add_block(self.layers, size, conv=conv, norm=norm, activation=nn.ReLU(inplace=True))
            inputs = outputs
        self.last = nn.ConvTranspose2d(inputs, channels, *_choose_kernel(image_size), bias=False)
        initialize(self, initialization, initialization_std)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        pixels = self.first(latents, classes)[:, :, None, None]
        return run_in_float32(self.last, self.layers(pixels)).tanh()


class DCGANCritic(Critic):
    """Maps images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        width: Channels of the first layer. They double from layer to layer, up to 8 · width.
        normalization: Of every layer but the first and the last.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        width: Width = 16,
        normalization: Normalization = "none",
        normalization_eps: Positive = 1e-5,
        initialization: Initialization = "normal",
        initialization_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        size, inputs = image_size, channels
        for half, outputs in widen(halve(image_size, SMALLEST, round_up=False), width):
            conv = nn.Conv2d(inputs, outputs, *_choose_kernel(size), bias=False)
            norm = None if size == image_size else make_norm(normalization, outputs, normalization_eps)
            add_block(self.layers, half, conv=conv, norm=norm, activation=nn.LeakyReLU(0.2, inplace=True))
            size, inputs = half, outputs
        self.last = Score(partial(nn.Conv2d, inputs, kernel_size=size, bias=False), num_classes)
        initialize(self, initialization, initialization_std)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        return self.last(self.layers(images), classes)


def _choose_kernel(size: int) -> tuple[int, int, int]:
    """Return kernel size, stride and padding that halve ``size`` or, from SMALLEST down, reduce it to one pixel."""
    if size <= SMALLEST:
        return size, 1, 0
    return (4, 2, 1) if size % 2 == 0 else (3, 2, 0)
