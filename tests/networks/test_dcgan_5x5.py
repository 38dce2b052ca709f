import pytest
from torch import nn

from tests import references
from wgan_cli.networks.dcgan_5x5 import DCGAN5x5Critic, DCGAN5x5Generator
from wgan_cli.networks.layers import halve


@pytest.mark.parametrize("size", [8, 9, 28, 33, 64, 100, 255, 256])
def test_generator_and_critic_mirror_each_other(size: int) -> None:
    critic = [m for m in references.layers(DCGAN5x5Critic(size, 3, width=2)) if isinstance(m, nn.Conv2d)]
    layers = references.layers(DCGAN5x5Generator(size, 3, latent_dim=7, width=2))
    generator = [m for m in layers if isinstance(m, nn.ConvTranspose2d)]
    widths = [min(2 * 2**depth, 16) for depth in range(len(halve(size, 4, round_up=True)))]
    channels = list(zip([3, *widths[:-1]], widths, strict=True))
    assert [(m.in_channels, m.out_channels) for m in critic] == channels
    assert [(m.out_channels, m.in_channels) for m in reversed(generator)] == channels
    assert all((m.kernel_size, m.stride) == ((5, 5), (2, 2)) for m in [*critic, *generator])
    assert all(m.bias is not None for m in [*critic, *generator])


@pytest.mark.parametrize("num_classes", [None, 10])
def test_initialization_is_the_sources(num_classes: int | None) -> None:
    latent_dim = 128 if num_classes is None else 256
    generator, critic = (build(28, 1, num_classes, width=32) for build in (DCGAN5x5Generator, DCGAN5x5Critic))
    expected = [
        references.linear_std(latent_dim, 4 * 4 * 128),
        *(references.deconv2d_std(inputs, outputs) for inputs, outputs in ((128, 64), (64, 32), (32, 1))),
        *(references.conv2d_std(inputs, outputs, 5, stride=2) for inputs, outputs in ((1, 32), (32, 64), (64, 128))),
        references.linear_std(4 * 4 * 128, 1),
        *([] if num_classes is None else [references.linear_std(4 * 4 * 128, num_classes)]),
    ]
    references.check_uniform([*generator.modules(), *critic.modules()], expected)
