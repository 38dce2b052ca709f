from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests import references
from wgan_cli.constraints import gradient_norms
from wgan_cli.networks.dcgan import pyramid
from wgan_cli.networks.resnet import ResNetCritic, ResNetGenerator

NETWORKS = [
    pytest.param(
        lambda: ResNetGenerator(32, 3, width=128), references.wgan_gp_resnet_generator, 1_204_483, None, id="generator"
    ),
    pytest.param(
        lambda: ResNetCritic(32, 3, width=128), references.wgan_gp_resnet_critic, 1_053_825, (3, 32, 32), id="critic"
    ),
    pytest.param(
        lambda: ResNetCritic(32, 3, width=16, pooling="sum"),
        lambda: references.wgan_gp_resnet_critic(16, "sum"),
        17_041,
        (3, 32, 32),
        id="critic that sums",
    ),
]


@pytest.mark.parametrize(("build", "reference", "count", "shape"), NETWORKS)
def test_published_network(
    build: Callable[[], nn.Module], reference: Callable[[], nn.Module], count: int, shape: tuple[int, ...] | None
) -> None:
    network, published = build(), reference()
    assert references.parameter_count(network) == references.parameter_count(published) == count
    references.copy_in_order(network, published)
    inputs = torch.randn(3, 128) if shape is None else torch.rand(3, *shape) * 2 - 1
    for training in (True, False):  # BatchNorm differs between them; train first, so that its averages moved
        expected = published.train(training)(inputs)
        scale = expected.abs().max().item()
        # Sums of some 1,000 float32 products in another order, eight layers deep: some 1e-6 of the largest.
        torch.testing.assert_close(network.train(training)(inputs), expected, rtol=0, atol=2e-5 * scale)
        assert expected.std() > 0.01 * scale  # which is 500 times that: a network that does nothing would show


def test_published_widths() -> None:
    """Miyato et al.'s generator is 256 wide; torch_mimicry's table has the same number."""
    assert references.parameter_count(ResNetGenerator(32, 3, width=256)) == 4_276_739


def test_nearest_neighbours_are_the_sources_upsampling() -> None:
    images = torch.randn(2, 3, 4, 5)
    assert torch.equal(F.interpolate(images, scale_factor=2, mode="nearest"), references.wgan_gp_upsample(images))


def test_gradient_penalty_of_the_published_critic() -> None:
    """Gradients of gradients, too: in-place activations and the shortcuts' order change none."""
    critic, published = ResNetCritic(32, 3, width=8), references.wgan_gp_resnet_critic(8)
    references.copy_in_order(critic, published)
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    gradients = []
    for network in (critic, published):
        penalty = (gradient_norms(network, images) - 1).square().mean()
        gradients.append(torch.autograd.grad(penalty, [w for w in network.parameters() if w.dim() > 1]))
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())  # float32 sums


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [*range(8, 40), 63, 64, 65, 100, 127, 128, 129, 255, 256])
def test_image_sizes(size: int, channels: int) -> None:
    images = ResNetGenerator(size, channels, latent_dim=2, width=1)(torch.randn(2, 2))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert ResNetCritic(size, channels, width=1)(images).shape == (2,)


@pytest.mark.parametrize("size", [8, 9, 28, 32, 33, 64, 100, 255, 256])
def test_generator_goes_through_dcgans_sizes(size: int) -> None:
    generator = ResNetGenerator(size, 3, latent_dim=2, width=1)
    sizes = []
    for block in generator.layers[1:]:
        block.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[2]))
    generator(torch.randn(1, 2))
    assert sizes[:-2] == pyramid(size)[::-1]


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (8, [4, 4, 4]),
        (9, [5, 5, 5]),
        (16, [8, 8, 8]),
        (17, [9, 5, 5, 5]),
        (28, [14, 7, 7, 7]),
        (32, [16, 8, 8, 8]),
        (64, [32, 16, 8, 8, 8]),
        (255, [128, 64, 32, 16, 8, 8, 8]),
    ],
)
def test_critic_halves_to_eight_pixels_and_keeps_two_blocks(size: int, sizes: list[int]) -> None:
    critic = ResNetCritic(size, 3, width=2)
    features = torch.randn(1, 3, size, size)
    found = []
    for block in critic.layers[:-1]:
        features = block(features)
        found.append(features.shape[2])
    assert found == sizes


@pytest.mark.parametrize("size", [8, 9, 28, 33])
def test_each_pixel_matters(size: int) -> None:
    images = torch.randn(1, 3, size, size, requires_grad=True)
    ResNetCritic(size, 3, width=8)(images).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


def test_an_odd_last_row_is_averaged_by_itself() -> None:
    halve = next(module for module in ResNetCritic(9, 1, width=1).modules() if isinstance(module, nn.AvgPool2d))
    halves = halve(torch.arange(81.0).view(1, 1, 9, 9))
    assert halves.shape == (1, 1, 5, 5)
    assert halves[0, 0, 4].tolist() == [72.5, 74.5, 76.5, 78.5, 80.0]
    assert halves[0, 0, 0, 4] == (8 + 17) / 2


@pytest.mark.parametrize("player", ["generator", "critic"])
def test_blocks_leave_their_inputs_as_they_are(player: str) -> None:
    """An in-place activation at a block's beginning would change what its shortcut sees."""
    network: nn.Module = ResNetCritic(16, 3, width=4)
    if player == "generator":
        network = ResNetGenerator(16, 3, width=4, normalization="none")
    blocks: list[Any] = [module for module in network.modules() if hasattr(module, "shortcut")]
    assert len(blocks) == (2 if player == "generator" else 3)
    for block in blocks:
        (first, *_) = (module for module in block.modules() if isinstance(module, nn.Conv2d))
        inputs = torch.randn(1, first.in_channels, 8, 8)
        before = inputs.clone()
        outputs = block(inputs)
        assert torch.equal(inputs, before)
        torch.testing.assert_close(outputs, block.layers(before) + block.shortcut(before), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["none", "batch", "layer"])
def test_normalisation_stands_before_each_relu(kind: str) -> None:
    layer: dict[str, list[type[nn.Module]]] = {"none": [], "batch": [nn.BatchNorm2d], "layer": [nn.GroupNorm]}
    norm, settings = layer[kind], dict[str, Any](width=2, normalization=kind)
    block = [*norm, nn.ReLU, nn.Upsample, nn.Conv2d, *norm, nn.ReLU, nn.Conv2d, nn.Conv2d, nn.Upsample]
    generator = ResNetGenerator(32, 3, **settings)
    assert [type(module) for module in references.layers(generator)] == [
        nn.Linear, nn.Unflatten, *block * 3, *norm, nn.ReLU, nn.Conv2d,
    ]  # fmt: skip


def test_critic_has_no_normalisation() -> None:
    assert not any("Norm" in type(module).__name__ for module in ResNetCritic(32, 3, width=2).modules())


def test_pooling() -> None:
    """At 32 pixels 8×8 are left: the sum is 64 times the mean."""
    mean, total = ResNetCritic(32, 3, width=4), ResNetCritic(32, 3, width=4, pooling="sum")
    references.copy_in_order(mean, total)
    images = torch.randn(2, 3, 32, 32)
    # The bias is 0 at first. Sums in another order: some 1e-6 of scores of about 1.
    torch.testing.assert_close(total(images), 64 * mean(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_pooling_is_in_float32_under_autocast(pooling: Any) -> None:
    """So that the score sees what the last block made, and not that rounded once more to 8 bits."""
    critic, seen = ResNetCritic(32, 3, width=4, pooling=pooling), list[torch.Tensor]()
    critic.last.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0]))
    with torch.autocast("cpu", torch.bfloat16):
        critic(torch.randn(2, 3, 32, 32))
    assert seen[0].dtype == torch.float32
    assert (seen[0] != seen[0].bfloat16().float()).any()


@pytest.mark.parametrize("num_classes", [None, 10])
def test_initialization_is_the_sources(num_classes: int | None) -> None:
    width = 32
    generator, critic = (build(32, 3, num_classes, width=width) for build in (ResNetGenerator, ResNetCritic))
    conv = references.conv2d_std(width, width, 3, stride=1)
    shortcut = references.conv2d_std(width, width, 1, stride=1, he_init=False)
    expected = [
        references.linear_std(128 if num_classes is None else 256, 4 * 4 * width),
        *[conv, conv, shortcut] * 3,
        references.conv2d_std(width, 3, 3, stride=1, he_init=False),
        references.conv2d_std(3, width, 3, stride=1), conv, references.conv2d_std(3, width, 1, 1, he_init=False),
        conv, conv, shortcut,
        *[conv, conv] * 2,
        references.linear_std(width, 1),
        *([] if num_classes is None else [references.linear_std(width, num_classes)]),
    ]  # fmt: skip
    references.check_uniform([*generator.modules(), *critic.modules()], expected)
    scales = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(scales) == 7
    assert all((module.weight == 1).all() and (module.bias == 0).all() for module in scales)
