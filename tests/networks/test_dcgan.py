import pytest
from torch import nn

from tests import references
from wgan_cli.networks.dcgan import DCGANCritic, DCGANGenerator
from wgan_cli.networks.layers import halve


@pytest.mark.parametrize("size", [8, 9, 28, 45, 64, 100, 256])
def test_convolutions(size: int) -> None:
    """4×4 with padding at an even size, 3×3 without at an odd one, no biases; the generator mirrors the critic."""
    critic = [module for module in references.layers(DCGANCritic(size, 3, width=2)) if isinstance(module, nn.Conv2d)]
    layers = references.layers(DCGANGenerator(size, 3, latent_dim=7, width=2))
    generator = [module for module in layers if isinstance(module, nn.ConvTranspose2d)]
    sizes = [size, *halve(size, 5, round_up=False)]
    widths = [min(2 * 2**depth, 16) for depth in range(len(sizes) - 1)]
    shapes = [*((4, 2, 1) if before % 2 == 0 else (3, 2, 0) for before in sizes[:-1]), (sizes[-1], 1, 0)]
    assert [(m.kernel_size[0], m.stride[0], int(m.padding[0])) for m in critic] == shapes
    assert [(m.kernel_size[0], m.stride[0], int(m.padding[0])) for m in generator] == shapes[::-1]
    assert [(m.in_channels, m.out_channels) for m in critic] == list(zip([3, *widths], [*widths, 1], strict=True))
    mirrored = list(zip([3, *widths], [*widths, 7], strict=True))
    assert [(m.out_channels, m.in_channels) for m in reversed(generator)] == mirrored
    assert all(module.bias is None for module in [*critic, *generator])
