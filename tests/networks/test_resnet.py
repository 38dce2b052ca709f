from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import references
from wgan_cli.networks.layers import halve
from wgan_cli.networks.resnet import ResNetCritic, ResNetGenerator


def output_sizes(network: nn.Module, inputs: Tensor) -> list[int]:
    """The sizes that a network's blocks return, which are also their names."""
    sizes: list[int] = []
    for name, block in network.get_submodule("layers").named_children():
        inputs = block(inputs)
        sizes.append(inputs.shape[2])
        assert name.startswith(f"{sizes[-1]}x{sizes[-1]}") or name == "end"
    return sizes[:-1]


@pytest.mark.parametrize("size", [8, 9, 28, 32, 33, 64, 100, 255, 256])
def test_generator_goes_through_dcgans_sizes(size: int) -> None:
    sizes = output_sizes(ResNetGenerator(size, 3, latent_dim=2, width=1), torch.randn(1, 2))
    assert sizes == [*reversed(halve(size, 5, round_up=False)), size]


@pytest.mark.parametrize(
    ("size", "halves"),
    [(8, [4]), (9, [5]), (17, [9, 5]), (28, [14, 7]), (32, [16, 8]), (64, [32, 16, 8]), (255, [128, 64, 32, 16, 8])],
)
def test_critic_halves_to_eight_pixels_and_keeps_two_blocks(size: int, halves: list[int]) -> None:
    sizes = output_sizes(ResNetCritic(size, 3, width=2), torch.randn(1, 3, size, size))
    assert sizes == [*halves, halves[-1], halves[-1]]


def test_an_odd_last_row_is_averaged_by_itself() -> None:
    halve_image = next(module for module in ResNetCritic(9, 1, width=1).modules() if isinstance(module, nn.AvgPool2d))
    halves = halve_image(torch.arange(81.0).view(1, 1, 9, 9))
    assert halves.shape == (1, 1, 5, 5)
    assert halves[0, 0, 4].tolist() == [72.5, 74.5, 76.5, 78.5, 80.0]
    assert halves[0, 0, 0, 4] == (8 + 17) / 2


def test_a_generators_blocks_leave_their_inputs_as_they_are() -> None:
    """An in-place activation at the start of a block would change what its shortcut sees."""
    generator = ResNetGenerator(16, 3, width=4, normalization="none")
    blocks: list[Any] = [module for module in generator.modules() if hasattr(module, "shortcut")]
    assert len(blocks) == 2
    for block in blocks:
        inputs = torch.randn(1, block.layers.conv1.in_channels, 8, 8)
        before = inputs.clone()
        outputs = block(inputs)
        assert torch.equal(inputs, before)
        torch.testing.assert_close(outputs, block.layers(before) + block.shortcut(before), rtol=0, atol=0)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_pooling_is_in_float32_under_autocast(pooling: Any) -> None:
    """The score sees what the last block made, and not that rounded once more to 8 bits."""
    critic, seen = ResNetCritic(32, 3, width=4, pooling=pooling), list[Tensor]()
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
