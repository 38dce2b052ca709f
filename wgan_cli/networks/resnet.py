"""Residual networks, for any image size from 8 to 256.

The generator goes through DCGAN's sizes backwards, one block for each; the critic halves the image, rounding up, until
at most 8 pixels are left, and ends with two blocks that keep the size. (At 32 pixels these are the networks for
CIFAR-10 of Gulrajani et al. 2017, gan_cifar_resnet.py, width 128, which Miyato et al. 2018, "Spectral Normalization for
GANs", took over: their generator is 256 wide, their critic sums over the image and has no bias at its score.)

Upsampling is by nearest neighbours, as in both; torch_mimicry, which restates the latter, has bilinear.
"""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.dcgan import pyramid
from wgan_cli.networks.layers import Normalization, Width, halvings, in_float32, normalize
from wgan_cli.players import Critic, Generator

Pooling = Literal["mean", "sum"]


class ResNetGenerator(Generator):
    """Latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        latent_dim: Dimensions of a latent.
        width: Channels of every layer before the image.
        normalization: Before each ReLU.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        latent_dim: Width = 128,
        width: Width = 64,
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.first = LatentAndClass(latent_dim, num_classes)
        *sizes, smallest = pyramid(image_size)
        self.layers = nn.Sequential(
            nn.Linear(self.first.features, width * smallest**2),
            nn.Unflatten(1, (width, smallest, smallest)),
            *(_up(width, size, normalization) for size in reversed(sizes)),
            *normalize(normalization, width, images=True),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        _initialize(self)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return in_float32(self.last, self.layers(self.first(latents, classes))).tanh()


class ResNetCritic(Critic):
    """Images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        width: Channels of every layer.
        pooling: What the score sees of each channel: its ``mean`` over the image, or its ``sum``.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        width: Width = 64,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.pool = {"mean": torch.mean, "sum": torch.sum}[pooling]
        self.layers = nn.Sequential(
            _down(channels, width, first=True),
            *(_down(width, width) for _ in halvings(image_size, 8)[2:]),
            *(_Residual([nn.ReLU(), *_convolutions(width, width)], []) for _ in range(2)),
            nn.ReLU(inplace=True),
        )
        self.last = Score(partial(nn.Linear, width), num_classes)
        _initialize(self)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        scores: Tensor = self.last(self.pool(self.layers(images), (2, 3), dtype=torch.float32), classes)
        return scores


class _Residual(nn.Module):
    """A block: its input by a shortcut, plus what its layers make of the input, which they must leave as it is.

    A 1×1 convolution does not mind whether pixels are repeated, or averaged, before it or after. The sources do the
    larger of the two everywhere but in the critic's first block; the blocks here do the smaller.
    """

    def __init__(self, layers: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), nn.Sequential(*shortcut)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.shortcut(inputs) + self.layers(inputs)
        return outputs


def _up(width: int, size: int, normalization: Normalization) -> nn.Module:
    """Return a block that enlarges images to ``size``."""
    norms = [normalize(normalization, width, images=True) for _ in range(2)]
    layers = [*norms[0], nn.ReLU(), nn.Upsample(size), *_convolutions(width, width, norms[1])]
    return _Residual(layers, [nn.Conv2d(width, width, 1), nn.Upsample(size)])


def _down(inputs: int, width: int, *, first: bool = False) -> nn.Module:
    """Return a block that halves the size; where that is odd, the last row and column are averaged by themselves."""
    layers = [*([] if first else [nn.ReLU()]), *_convolutions(inputs, width), _halve()]
    return _Residual(layers, [_halve(), nn.Conv2d(inputs, width, 1)])


def _convolutions(inputs: int, width: int, norm: list[nn.Module] | None = None) -> list[nn.Module]:
    convolutions = [nn.Conv2d(channels, width, 3, padding=1) for channels in (inputs, width)]
    return [convolutions[0], *(norm or []), nn.ReLU(inplace=True), convolutions[1]]


def _halve() -> nn.Module:
    return nn.AvgPool2d(2, ceil_mode=True)


def _initialize(network: nn.Module) -> None:
    """Draw the first weights as Glorot and Bengio 2010, uniformly, times √2 in the blocks' 3×3 convolutions."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for block in network.modules():
        if isinstance(block, _Residual):
            for module in block.layers:
                if isinstance(module, nn.Conv2d):
                    nn.init.xavier_uniform_(module.weight, math.sqrt(2))
