from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.constraints import gradient_norms
from wgan_cli.networks.dcgan_5x5 import DCGAN5x5Critic, DCGAN5x5Generator
from wgan_cli.networks.layers import halvings

NETWORKS = [
    pytest.param(
        lambda: DCGAN5x5Generator(28, 1, width=64),
        references.wgan_gp_mnist_generator,
        1_554_177,
        None,
        id="generator, 28 pixels",
    ),
    pytest.param(
        lambda: DCGAN5x5Critic(28, 1, width=64),
        lambda: references.wgan_gp_critic(1, 64),
        1_030_145,
        (1, 28, 28),
        id="critic, 28 pixels",
    ),
    pytest.param(
        lambda: DCGAN5x5Generator(32, 3, width=32, normalization="batch"),
        references.wgan_gp_cifar_generator,
        526_979,
        None,
        id="generator, 32 pixels",
    ),
    pytest.param(
        lambda: DCGAN5x5Critic(32, 3, width=32),
        lambda: references.wgan_gp_critic(3, 32),
        260_673,
        (3, 32, 32),
        id="critic, 32 pixels",
    ),
]


@pytest.mark.parametrize(("build", "reference", "count", "shape"), NETWORKS)
def test_published_network(
    build: Callable[[], nn.Module], reference: Callable[[], nn.Module], count: int, shape: tuple[int, ...] | None
) -> None:
    network, published = build(), reference()
    assert references.parameter_count(network) == references.parameter_count(published) == count
    references.copy_in_order(published, network)
    inputs = torch.randn(4, 128) if shape is None else torch.rand(4, *shape) * 2 - 1
    for training in (True, False):  # BatchNorm differs between them; train first, so that its averages moved
        expected = published.train(training)(inputs)
        scale = expected.abs().max().item()
        # Sums of some 6,000 float32 products in another order, three layers deep: some 1e-6 of the largest.
        torch.testing.assert_close(network.train(training)(inputs), expected, rtol=0, atol=1e-5 * scale)
        assert expected.std() > 0.01 * scale  # which is a thousand times that: a network that does nothing would show


def test_32_pixels_have_the_published_width() -> None:
    """gan_cifar.py has DIM 128."""
    assert references.parameter_count(DCGAN5x5Generator(32, 3, width=128, normalization="batch")) == 5_179_907
    assert references.parameter_count(DCGAN5x5Critic(32, 3, width=128)) == 4_114_689


def test_gradient_penalty_of_the_published_critic() -> None:
    """Gradients of gradients, too: in-place activations change none."""
    critic, published = DCGAN5x5Critic(28, 1, width=8), references.wgan_gp_critic(1, 8)
    references.copy_in_order(published, critic)
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    gradients = []
    for network in (critic, published):
        penalty = (gradient_norms(network, images) - 1).square().mean()
        gradients.append(torch.autograd.grad(penalty, list(network.parameters())[:-1:2]))
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())  # float32 sums


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [*range(8, 40), 63, 64, 65, 100, 127, 128, 129, 255, 256])
def test_image_sizes(size: int, channels: int) -> None:
    images = DCGAN5x5Generator(size, channels, latent_dim=2, width=1)(torch.randn(2, 2))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert DCGAN5x5Critic(size, channels, width=1)(images).shape == (2,)


@pytest.mark.parametrize("size", [8, 9, 28, 33, 64, 100, 255, 256])
def test_generator_and_critic_mirror_each_other(size: int) -> None:
    critic = [m for m in DCGAN5x5Critic(size, 3, width=2).modules() if isinstance(m, nn.Conv2d)]
    generator = [
        m for m in DCGAN5x5Generator(size, 3, latent_dim=7, width=2).modules() if isinstance(m, nn.ConvTranspose2d)
    ]
    layers = len(halvings(size, 4)) - 1
    widths = [min(2 * 2**depth, 16) for depth in range(layers)]
    assert [(m.in_channels, m.out_channels) for m in critic] == list(zip([3, *widths[:-1]], widths, strict=True))
    assert [(m.out_channels, m.in_channels) for m in reversed(generator)] == [
        (m.in_channels, m.out_channels) for m in critic
    ]
    assert all((m.kernel_size, m.stride) == ((5, 5), (2, 2)) for m in [*critic, *generator])
    assert all(m.bias is not None for m in [*critic, *generator])


@pytest.mark.parametrize("size", [8, 9, 28, 33, 100])
def test_each_pixel_matters(size: int) -> None:
    images = torch.randn(1, 3, size, size, requires_grad=True)
    DCGAN5x5Critic(size, 3, width=2)(images).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


@pytest.mark.parametrize("kind", ["none", "batch", "layer"])
def test_normalisation_stands_where_the_source_has_it(kind: str) -> None:
    """The generator's first is over the numbers that the linear layer made, as gan_mnist.py has it (axes [0])."""
    vector: dict[str, list[type[nn.Module]]] = {"none": [], "batch": [nn.BatchNorm1d], "layer": [nn.LayerNorm]}
    image: dict[str, list[type[nn.Module]]] = {"none": [], "batch": [nn.BatchNorm2d], "layer": [nn.GroupNorm]}
    settings: dict[str, Any] = {"width": 2, "normalization": kind}
    generator, critic = DCGAN5x5Generator(28, 1, **settings), DCGAN5x5Critic(28, 1, **settings)
    deconv = [nn.ConvTranspose2d, nn.ZeroPad2d]
    assert [type(module) for module in references.layers(generator)] == [
        *[nn.Linear, *vector[kind], nn.ReLU, nn.Unflatten],
        *[*deconv, *image[kind], nn.ReLU] * 2,
        *deconv,
    ]
    conv = [nn.ZeroPad2d, nn.Conv2d]
    assert [type(module) for module in references.layers(critic)] == [
        *[*conv, nn.LeakyReLU],
        *[*conv, *image[kind], nn.LeakyReLU] * 2,
        nn.Linear,
    ]


def test_no_normalisation_by_default() -> None:
    for network in (DCGAN5x5Generator(28, 1), DCGAN5x5Critic(28, 1)):
        assert not any("Norm" in type(module).__name__ for module in network.modules())


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
