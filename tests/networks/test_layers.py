from itertools import pairwise

import pytest
import torch
from torch import nn

from wgan_cli.networks.layers import add_block, chain, halve, make_norm, widen


@pytest.mark.parametrize(
    ("size", "smallest", "sizes"),
    [(28, 4, [14, 7, 4]), (32, 8, [16, 8]), (8, 8, [4]), (255, 8, [128, 64, 32, 16, 8]), (9, 2, [5, 3, 2])],
)
def test_halve_rounds_up_and_halves_once_at_least(size: int, smallest: int, sizes: list[int]) -> None:
    assert halve(size, smallest, round_up=True) == sizes


def test_halve_rounds_down() -> None:
    """From any image size, DCGAN's sizes end with 3, 4 or 5."""
    for size in range(8, 257):
        sizes = [size, *halve(size, 5, round_up=False)]
        assert 3 <= sizes[-1] <= 5
        assert all(before > 5 and after == before // 2 for before, after in pairwise(sizes))


def test_widen_ends_at_eightfold() -> None:
    assert widen([64, 32, 16, 8, 4, 2], 3) == [(64, 3), (32, 6), (16, 12), (8, 24), (4, 24), (2, 24)]


def test_blocks_hold_named_layers_in_order() -> None:
    blocks, linear, activation = nn.Sequential(), nn.Linear(2, 2), nn.Tanh()
    add_block(blocks, 14, linear=linear, norm=None, activation=activation)
    assert dict(blocks.named_children()).keys() == {"14x14"}
    assert list(blocks[0].named_children()) == [("linear", linear), ("activation", activation)]
    assert torch.equal(blocks(torch.ones(1, 2)), torch.tanh(linear(torch.ones(1, 2))))
    assert len(chain(norm=None)) == 0


@pytest.mark.parametrize("images", [False, True])
def test_layer_normalisation_covers_all_of_a_sample(images: bool) -> None:
    layer = make_norm("layer", 6, images=images)
    assert layer is not None
    shape = (3, 6, 4, 4) if images else (3, 6)
    features = torch.randn(shape) * torch.arange(1, 7).view(1, 6, *(1,) * (len(shape) - 2)) + 2
    whole = features.flatten(1)  # one mean and one variance of a sample, not one of each of its channels
    expected = (whole - whole.mean(1, keepdim=True)) / whole.std(1, unbiased=False, keepdim=True)
    torch.testing.assert_close(layer(features).flatten(1), expected, rtol=1e-3, atol=1e-3)  # eps of 1e-5, float32
