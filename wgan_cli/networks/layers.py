"""What the networks share: normalisation, activation and initialisation by name, and the sizes."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from wgan_cli.parameters import Range

Normalization = Literal["none", "batch", "layer"]
Activation = Literal["leaky_relu", "relu", "tanh"]
Initialization = Literal["default", "normal"]
Width = Annotated[int, Range(1, 16384)]
Widths = Annotated[tuple[Width, ...], Range(high=100)]
Epsilon = Annotated[float, Range(above=0)]
Std = Annotated[float, Range(above=0)]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
}


def in_float32(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Run a network's last layer in float32, whatever the precision of those before it.

    bf16 has 8 bits: it would round scores in the thousands, which a clipped critic reaches, to multiples of 16 or more,
    and what training is about is differences of scores.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        outputs: Tensor = layer(inputs.float())
    return outputs


def normalize(kind: Normalization, features: int, eps: float = 1e-5, *, images: bool) -> list[nn.Module]:
    """Return the normalisation layer in a list, which is empty for ``none``.

    Args:
        kind: ``batch`` over the batch; ``layer`` over all of one sample's features, so that no sample sees another
            (what Gulrajani et al. 2017 recommend under a gradient penalty).
        features: Width, or number of channels.
        eps: Added to the variance.
        images: Whether the input is (batch, features, height, width) rather than (batch, features).
    """
    if kind == "batch":
        return [nn.BatchNorm2d(features, eps) if images else nn.BatchNorm1d(features, eps)]
    if kind == "layer":
        return [nn.GroupNorm(1, features, eps) if images else nn.LayerNorm(features, eps)]
    return []


def halvings(image_size: int, smallest: int) -> list[int]:
    """Return the sizes that an image goes through: each half of the one before, rounded up.

    Args:
        image_size: The first of them.
        smallest: It ends with the first size of at most this, after one halving at least.
    """
    sizes = [image_size, (image_size + 1) // 2]
    while sizes[-1] > smallest:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def doubling(width: int, count: int) -> list[int]:
    """Return the widths of so many layers from the image's side: each twice the one before, up to 8 · width."""
    return [width * min(2**index, 8) for index in range(count)]


def initialize(network: nn.Module, scheme: Initialization, std: float) -> None:
    """Draw a network's first weights from torch's global random stream.

    Args:
        network: Changed in place.
        scheme: ``default`` leaves what torch's layers did; ``normal`` is DCGAN's: weights N(0, std²), BatchNorm's
            scale N(1, std²), biases 0.
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
