"""DCGAN's convolutional networks, for any image size from 8 to 256.

The critic halves the image until 3 to 5 pixels are left; the generator is its mirror. (Radford et al. 2016; at 64
pixels these are the WGAN authors' networks.)
"""

from functools import partial

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import (
    Epsilon,
    Initialization,
    Normalization,
    Std,
    Width,
    doubling,
    in_float32,
    initialize,
    normalize,
)
from wgan_cli.players import Critic, Generator


class DCGANGenerator(Generator):
    """Latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        latent_dim: Dimensions of a latent.
        width: Channels of the layer before the image; they double towards the latent, up to 8 · width.
        normalization: Of each layer but the last.
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
        width: Width = 32,
        normalization: Normalization = "batch",
        normalization_eps: Epsilon = 1e-5,
        initialization: Initialization = "normal",
        initialization_std: Std = 0.02,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.first = LatentAndClass(latent_dim, num_classes)
        sizes = pyramid(image_size)
        widths = doubling(width, len(sizes) - 1)
        layers: list[nn.Module] = []
        convolution = nn.ConvTranspose2d(self.first.features, widths[-1], sizes[-1], bias=False)
        for size, features, narrower in zip(sizes[-2::-1], widths[::-1], [*widths[-2::-1], channels], strict=True):
            layers += [convolution, *normalize(normalization, features, normalization_eps, images=True)]
            layers += [nn.ReLU(inplace=True)]
            convolution = nn.ConvTranspose2d(features, narrower, *_stride_two(size), bias=False)
        self.layers, self.last = nn.Sequential(*layers), convolution
        initialize(self, initialization, initialization_std)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return in_float32(self.last, self.layers(self.first(latents, classes)[:, :, None, None])).tanh()


class DCGANCritic(Critic):
    """Images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        width: Channels of the first layer; they double from layer to layer, up to 8 · width.
        normalization: Of each layer but the first and the last.
        normalization_eps: Added to the variance.
        initialization: How the weights begin.
        initialization_std: Standard deviation for ``initialization=normal``.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        width: Width = 16,
        normalization: Normalization = "none",
        normalization_eps: Epsilon = 1e-5,
        initialization: Initialization = "normal",
        initialization_std: Std = 0.02,
    ) -> None:
        super().__init__()
        sizes = pyramid(image_size)
        widths = doubling(width, len(sizes) - 1)
        layers: list[nn.Module] = []
        for index, (size, inputs, features) in enumerate(zip(sizes, [channels, *widths], widths, strict=False)):
            layers.append(nn.Conv2d(inputs, features, *_stride_two(size), bias=False))
            if index > 0:
                layers += normalize(normalization, features, normalization_eps, images=True)
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.last = Score(partial(nn.Conv2d, widths[-1], kernel_size=sizes[-1], bias=False), num_classes)
        initialize(self, initialization, initialization_std)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        scores: Tensor = self.last(self.layers(images), classes)
        return scores


def pyramid(image_size: int) -> list[int]:
    """Return the sizes that an image goes through: each half of the one before, rounded down, to 3, 4 or 5."""
    sizes = [image_size]
    while sizes[-1] > 5:
        sizes.append(sizes[-1] // 2)
    return sizes


def _stride_two(size: int) -> tuple[int, int, int]:
    """Return kernel size, stride and padding of a convolution from ``size`` to ``size // 2``, or of its transpose."""
    return (4, 2, 1) if size % 2 == 0 else (3, 2, 0)
