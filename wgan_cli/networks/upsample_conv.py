"""Networks of plain 3×3 convolutions: the generator upsamples and convolves, the critic convolves with dropout.

Both halve the image size, rounding up; the generator until at most 8 pixels are left, the critic until at most 2.
Enlarging each size twofold by nearest neighbours, and cutting what is too much, is the way back. (PyTorch-GAN's
dcgan.py and relativistic_gan.py: at 32 pixels, one channel, ``normalization=batch`` and ``normalization_eps=0.8``
these are its networks.)
"""

from functools import partial
from typing import Annotated

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import (
    Epsilon,
    Initialization,
    Normalization,
    Std,
    Width,
    doubling,
    halvings,
    in_float32,
    initialize,
    normalize,
)
from wgan_cli.parameters import Range
from wgan_cli.players import Critic, Generator

Dropout = Annotated[float, Range(low=0, below=1)]


class UpsampleConvGenerator(Generator):
    """Latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        latent_dim: Dimensions of a latent.
        width: Channels of the layer before the image; each layer before that has 2 · width.
        normalization: Of each layer but the last.
        normalization_eps: Added to the variance, but in the first normalisation, where it is torch's own 1e-5.
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
        initialization: Initialization = "default",
        initialization_std: Std = 0.02,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.first = LatentAndClass(latent_dim, num_classes)
        *sizes, smallest = halvings(image_size, 8)
        wide = 2 * width
        layers: list[nn.Module] = [
            nn.Linear(self.first.features, wide * smallest**2),
            nn.Unflatten(1, (wide, smallest, smallest)),
            *normalize(normalization, wide, images=True),
        ]
        for size in reversed(sizes):
            features = width if size == image_size else wide
            layers += [nn.Upsample(size), nn.Conv2d(wide, features, 3, padding=1)]
            layers += [*normalize(normalization, features, normalization_eps, images=True)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers, self.last = nn.Sequential(*layers), nn.Conv2d(width, channels, 3, padding=1)
        initialize(self, initialization, initialization_std)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return in_float32(self.last, self.layers(self.first(latents, classes))).tanh()


class UpsampleConvCritic(Critic):
    """Images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        width: Channels of the first layer; they double from layer to layer, up to 8 · width.
        dropout: Probability with which a channel of an image is left out in training, after each layer but the last.
        normalization: Of each layer but the first and the last, after the dropout.
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
        dropout: Dropout = 0.25,
        normalization: Normalization = "none",
        normalization_eps: Epsilon = 1e-5,
        initialization: Initialization = "default",
        initialization_std: Std = 0.02,
    ) -> None:
        super().__init__()
        sizes = halvings(image_size, 2)
        widths = doubling(width, len(sizes) - 1)
        layers: list[nn.Module] = []
        for index, (inputs, features) in enumerate(zip([channels, *widths], widths, strict=False)):
            layers += [nn.Conv2d(inputs, features, 3, stride=2, padding=1)]
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(dropout)]
            if index > 0:
                layers += normalize(normalization, features, normalization_eps, images=True)
        self.layers = nn.Sequential(*layers)
        self.last = Score(partial(nn.Linear, widths[-1] * sizes[-1] ** 2), num_classes)
        initialize(self, initialization, initialization_std)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        scores: Tensor = self.last(self.layers(images).flatten(1), classes)
        return scores
