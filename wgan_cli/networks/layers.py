"""The networks' building blocks: sizes and widths, named blocks, normalisation, initial weights, precision."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wgan_cli.networks.options import Initialization, Normalization


def halve(image_size: int, smallest: int, *, round_up: bool) -> list[int]:
    """Return the sizes that repeated halving gives, without ``image_size`` itself.

    Args:
        image_size: The size to halve, at least once.
        smallest: Halving stops at the first size not above this.
        round_up: Whether half of an odd size is rounded up instead of down.
    """
    sizes = [(image_size + round_up) // 2]
    while sizes[-1] > smallest:
        sizes.append((sizes[-1] + round_up) // 2)
    return sizes


def widen(sizes: list[int], width: int) -> list[tuple[int, int]]:
    """Pair each size with its channels: ``width`` for the first, then twice as many each time, up to 8 · width."""
    return [(size, width * min(2**depth, 8)) for depth, size in enumerate(sizes)]


def chain(**layers: nn.Module | None) -> nn.Sequential:
    """Connect named layers in order, leaving out those that are None."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def add_block(blocks: nn.Sequential, size: int, **layers: nn.Module | None) -> None:
    """Append a chain of layers, named by the size of its output."""
    blocks.add_module(f"{size}x{size}", chain(**layers))


def make_norm(kind: Normalization, features: int, eps: float = 1e-5, *, images: bool = True) -> nn.Module | None:
    """Make a normalisation layer, or None for ``none``.

    Args:
        kind: ``batch`` normalises over the batch. ``layer`` normalises over all features of one sample, so that samples
            stay independent (Gulrajani et al. 2017 recommend it under a gradient penalty).
        features: Number of channels or units.
        eps: Added to the variance.
        images: Whether inputs are (batch, features, height, width) rather than (batch, features).
    """
    if kind == "batch":
        return nn.BatchNorm2d(features, eps) if images else nn.BatchNorm1d(features, eps)
    if kind == "layer":
        return nn.GroupNorm(1, features, eps) if images else nn.LayerNorm(features, eps)
    return None


def initialize(network: nn.Module, scheme: Initialization, std: float) -> None:
    """Draw a network's initial weights from torch's global random stream.

    Args:
        network: Changed in place.
        scheme: ``default`` keeps the weights that torch drew. ``normal`` is DCGAN's: weights N(0, std²), scales of
            normalisation layers N(1, std²), biases 0.
        std: Standard deviation for ``normal``.

    Source: Radford et al. 2016, "Unsupervised representation learning with DCGANs", section 4.
    """
    if scheme == "default":
        return
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def run_in_float32(layer: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Run a network's last layer in float32, even under autocast.

    A clipped critic scores in the thousands. bfloat16 has 8 significant bits and would round such scores to multiples
    of 16 or more, but training depends on their differences.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        return layer(inputs.float())
