"""Residual networks, for any image size from 8 to 256.

The generator passes through DCGAN's sizes in reverse, one block per size. The critic halves the image, rounding up,
until at most 8 pixels are left, and ends with two blocks that keep the size.

At 32 pixels and width 128 these are the CIFAR-10 networks of Gulrajani et al. 2017 (gan_cifar_resnet.py). Miyato et al.
2018 ("Spectral Normalization for GANs") use them with three changes: their generator is 256 wide, and their critic sums
over the image and has no bias in its score. Both upsample by nearest neighbours. (torch_mimicry, which reimplements the
latter, upsamples bilinearly.)
"""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import add_block, chain, halve, make_norm, run_in_float32
from wgan_cli.networks.options import Normalization, Width
from wgan_cli.networks.players import Critic, Generator

Pooling = Literal["mean", "sum"]


class ResNetGenerator(Generator):
    """Maps latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        width: Channels of every hidden layer.
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
        sizes = [image_size, *halve(image_size, 5, round_up=False)]
        size = sizes.pop()
        linear = nn.Linear(self.first.features, width * size**2)
        self.layers = nn.Sequential()
        add_block(self.layers, size, linear=linear, unflatten=nn.Unflatten(1, (width, size, size)))
        for size in reversed(sizes):
            self.layers.add_module(f"{size}x{size}", _Block(width, width, normalization, up=nn.Upsample(size)))
        norm = make_norm(normalization, width)
        self.layers.add_module("end", chain(norm=norm, activation=nn.ReLU(inplace=True)))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        _initialize(self)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return run_in_float32(self.last, self.layers(self.first(latents, classes))).tanh()


class ResNetCritic(Critic):
    """Maps images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        width: Channels of every layer.
        pooling: What the score sees of each channel: its ``mean`` or its ``sum`` over the image.
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
        self.pool = torch.mean if pooling == "mean" else torch.sum
        self.layers = nn.Sequential()
        sizes, inputs = halve(image_size, 8, round_up=True), channels
        for size in sizes:
            down = nn.AvgPool2d(2, ceil_mode=True)  # in an odd size, the last row and column are averaged by themselves
            self.layers.add_module(f"{size}x{size}", _Block(inputs, width, down=down, activate=size != sizes[0]))
            inputs = width
        for name in (f"{size}x{size}_1", f"{size}x{size}_2"):
            self.layers.add_module(name, _Block(width, width))
        self.layers.add_module("end", chain(activation=nn.ReLU(inplace=True)))
        self.last = Score(partial(nn.Linear, width), num_classes)
        _initialize(self)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        return self.last(self.pool(self.layers(images), (2, 3), dtype=torch.float32), classes)


class _Block(nn.Module):
    """The sum of ``layers`` and ``shortcut``, which share their input and must not change it in place.

    A 1×1 convolution gives the same result before and after repeating or averaging pixels. The sources apply it to the
    larger image, except in the critic's first block; these blocks always apply it to the smaller one.

    Args:
        inputs: Channels of the input.
        width: Channels of the output.
        normalization: Before each ReLU.
        up: A layer that enlarges images, or None.
        down: A layer that shrinks images, or None.
        activate: Whether ``layers`` starts with a ReLU. A block that sees the image itself does not.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        normalization: Normalization = "none",
        up: nn.Module | None = None,
        down: nn.Module | None = None,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.layers = chain(
            norm1=make_norm(normalization, inputs),
            activation1=nn.ReLU() if activate else None,
            up=up,
            conv1=nn.Conv2d(inputs, width, 3, padding=1),
            norm2=make_norm(normalization, width),
            activation2=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(width, width, 3, padding=1),
            down=down,
        )
        self.shortcut = chain(down=down, conv=nn.Conv2d(inputs, width, 1) if up or down else None, up=up)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.add(self.shortcut(inputs), self.layers(inputs))


def _initialize(network: nn.Module) -> None:
    """Draw the initial weights as the source does: Glorot's uniform, times √2 for the 3×3 convolutions in blocks."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for block in network.modules():
        if isinstance(block, _Block):
            nn.init.xavier_uniform_(block.layers.get_parameter("conv1.weight"), math.sqrt(2))
            nn.init.xavier_uniform_(block.layers.get_parameter("conv2.weight"), math.sqrt(2))
