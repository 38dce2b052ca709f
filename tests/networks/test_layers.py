from itertools import pairwise

import pytest
import torch

from wgan_cli.networks.layers import halve, make_norm


def test_halve_rounds_down() -> None:
    """From any image size, DCGAN's sizes end with 3, 4 or 5."""
    for size in range(8, 257):
        sizes = [size, *halve(size, 5, round_up=False)]
        assert 3 <= sizes[-1] <= 5
        assert all(before > 5 and after == before // 2 for before, after in pairwise(sizes))


@pytest.mark.parametrize("images", [False, True])
def test_layer_normalisation_covers_all_of_a_sample(images: bool) -> None:
    layer = make_norm("layer", 6, images=images)
    assert layer is not None
    shape = (3, 6, 4, 4) if images else (3, 6)
    features = torch.randn(shape) * torch.arange(1, 7).view(1, 6, *(1,) * (len(shape) - 2)) + 2
    whole = features.flatten(1)  # one mean and one variance of a sample, not one of each of its channels
    expected = (whole - whole.mean(1, keepdim=True)) / whole.std(1, unbiased=False, keepdim=True)
    torch.testing.assert_close(layer(features).flatten(1), expected, rtol=1e-3, atol=1e-3)  # eps of 1e-5, float32
