from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.networks.dcgan import DCGANCritic, DCGANGenerator, pyramid

NETWORKS = [
    pytest.param(
        lambda: DCGANGenerator(28, 1, width=256),
        references.labml_generator,
        7_745_024,
        None,
        id="labml generator, 28 pixels",
    ),
    pytest.param(
        lambda: DCGANCritic(28, 1, width=256, normalization="batch"),
        references.labml_critic,
        6_832_128,
        (1, 28, 28),
        id="labml critic, 28 pixels",
    ),
    pytest.param(
        lambda: DCGANGenerator(64, 3, width=64),
        references.wgan_generator,
        3_576_704,
        None,
        id="WGAN generator, 64 pixels",
    ),
    pytest.param(
        lambda: DCGANCritic(64, 3, width=64, normalization="batch"),
        references.wgan_critic,
        2_765_568,
        (3, 64, 64),
        id="WGAN critic, 64 pixels",
    ),
]


@pytest.mark.parametrize(("build", "reference", "count", "shape"), NETWORKS)
def test_published_network(
    build: Callable[[], nn.Module], reference: Callable[[], nn.Module], count: int, shape: tuple[int, ...] | None
) -> None:
    network, published = build(), reference()
    assert references.parameter_count(network) == references.parameter_count(published) == count
    references.copy_in_order(network, published)
    inputs = torch.randn(2, 100) if shape is None else torch.rand(2, *shape) * 2 - 1
    for training in (True, False):
        torch.testing.assert_close(network.train(training)(inputs), published.train(training)(inputs), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_size(channels: int) -> None:
    for size in range(8, 257):
        generator = DCGANGenerator(size, channels, latent_dim=2, width=1)
        critic = DCGANCritic(size, channels, width=1)
        images = generator(torch.randn(2, 2))
        assert images.shape == (2, channels, size, size)
        assert images.abs().max() <= 1
        assert critic(images).shape == (2,)


def test_pyramid_halves_to_three_to_five() -> None:
    for size in range(8, 257):
        sizes = pyramid(size)
        assert sizes[0] == size
        assert 3 <= sizes[-1] <= 5
        assert all(after == before // 2 for before, after in pairwise(sizes))
        assert all(before > 5 for before in sizes[:-1])


@pytest.mark.parametrize("size", [8, 9, 28, 45, 64, 100, 256])
def test_convolutions_of_the_pyramid(size: int) -> None:
    """4×4 with padding where a size is even, 3×3 without where it is odd; no biases; generator and critic mirror."""
    sizes = pyramid(size)
    critic = [module for module in DCGANCritic(size, 3, width=2).modules() if isinstance(module, nn.Conv2d)]
    generator = [
        module
        for module in DCGANGenerator(size, 3, latent_dim=7, width=2).modules()
        if isinstance(module, nn.ConvTranspose2d)
    ]
    widths = [min(2 * 2**depth, 16) for depth in range(len(sizes) - 1)]
    shapes = [
        *((4, 2, 1) if before % 2 == 0 else (3, 2, 0) for before in sizes[:-1]),
        (sizes[-1], 1, 0),
    ]
    assert [(m.kernel_size[0], m.stride[0], int(m.padding[0])) for m in critic] == shapes
    assert [(m.kernel_size[0], m.stride[0], int(m.padding[0])) for m in generator] == shapes[::-1]
    assert [(m.in_channels, m.out_channels) for m in critic] == list(zip([3, *widths], [*widths, 1], strict=True))
    assert [(m.in_channels, m.out_channels) for m in generator] == list(
        zip([7, *widths[::-1]], [*widths[::-1], 3], strict=True)
    )
    assert all(module.bias is None for module in [*critic, *generator])


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("size", [8, 13, 28])
def test_scores_are_one_for_each_image(size: int, batch: int) -> None:
    assert DCGANCritic(size, 3, width=2)(torch.randn(batch, 3, size, size)).shape == (batch,)
    assert DCGANGenerator(size, 3, width=2)(torch.randn(batch, 100)).shape == (batch, 3, size, size)


def test_output_range() -> None:
    """Latents large enough to saturate: images reach both ends and go beyond neither; scores are unbounded."""
    generator = DCGANGenerator(8, 1, latent_dim=4, normalization="none", initialization_std=1.0)
    images = generator(1e4 * torch.randn(8, 4))
    assert images.min() == -1
    assert images.max() == 1
    assert DCGANCritic(8, 1, width=4, initialization_std=1.0)(torch.ones(8, 1, 8, 8)).abs().max() > 1


@pytest.mark.parametrize("kind", ["none", "batch", "layer"])
def test_normalisation_stands_where_dcgan_has_it(kind: str) -> None:
    """In the generator after each layer but the last, in the critic after each but the first and the last."""
    layer: dict[str, list[type[nn.Module]]] = {"none": [], "batch": [nn.BatchNorm2d], "layer": [nn.GroupNorm]}
    settings: dict[str, Any] = {"width": 2, "normalization": kind}
    up = [nn.ConvTranspose2d, *layer[kind], nn.ReLU]
    generator, critic = DCGANGenerator(28, 1, **settings), DCGANCritic(28, 1, **settings)
    assert [type(module) for module in references.layers(generator)] == [*up * 3, nn.ConvTranspose2d]
    first, down = [nn.Conv2d, nn.LeakyReLU], [nn.Conv2d, *layer[kind], nn.LeakyReLU]
    assert [type(module) for module in references.layers(critic)] == [*first, *down * 2, nn.Conv2d]


def test_defaults_are_batch_for_the_generator_and_none_for_the_critic() -> None:
    assert any(isinstance(module, nn.BatchNorm2d) for module in DCGANGenerator(8, 1).modules())
    assert not any(isinstance(module, nn.BatchNorm2d | nn.GroupNorm) for module in DCGANCritic(8, 1).modules())


@pytest.mark.parametrize("width", [1, 3, 16])
def test_width_is_the_layer_beside_the_image(width: int) -> None:
    critic, generator = DCGANCritic(64, 3, width=width), DCGANGenerator(64, 3, width=width)
    assert [m.out_channels for m in references.layers(critic) if isinstance(m, nn.Conv2d)][:-1] == [
        width * w for w in (1, 2, 4, 8)
    ]
    ups = [m.in_channels for m in references.layers(generator) if isinstance(m, nn.ConvTranspose2d)]
    assert ups == [100, 8 * width, 4 * width, 2 * width, width]


def test_channels_last_changes_layout_only() -> None:
    critic = DCGANCritic(16, 3, width=4)
    images = torch.randn(4, 3, 16, 16)
    expected = critic(images)
    laid_out = critic.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(laid_out, expected)  # float32: sums in another order
