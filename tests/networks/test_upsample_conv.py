from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.errors import SettingError
from wgan_cli.networks.upsample_conv import UpsampleConvCritic, UpsampleConvGenerator
from wgan_cli.parameters import bind


@pytest.mark.parametrize("size", [8, 9, 16, 17, 28, 32, 33, 64, 100, 128, 255, 256])
def test_generator_doubles_and_crops(size: int) -> None:
    """From 4 to 8 pixels each size is twice the one before, or one less. ``width`` comes last, before it twice that."""
    layers: list[Any] = references.layers(UpsampleConvGenerator(size, 3, latent_dim=2, width=2))
    sizes = [layers[1].unflattened_size[1]]
    for layer in layers:
        if isinstance(layer, nn.Upsample):
            image = torch.randn(1, 4, sizes[-1], sizes[-1])
            larger = layer(image)
            twice = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
            sizes.append(larger.shape[2])
            assert torch.equal(larger, twice[:, :, : sizes[-1], : sizes[-1]])
    assert 4 <= sizes[0] <= 8
    assert sizes[-1] == size
    assert all(after in (2 * before, 2 * before - 1) for before, after in pairwise(sizes))
    assert len(sizes) == 2 or sizes[1] > 8
    widths = [(layer.in_channels, layer.out_channels) for layer in layers if isinstance(layer, nn.Conv2d)]
    assert widths == [*[(4, 4)] * (len(sizes) - 2), (4, 2), (2, 3)]


@pytest.mark.parametrize(("size", "depth"), [(8, 2), (9, 3), (28, 4), (33, 5), (256, 7)])
def test_critic_halves_to_two_pixels(size: int, depth: int) -> None:
    critic, widths = UpsampleConvCritic(size, 1, width=3), [3, 6, 12, 24, 24, 24, 24][:depth]
    convolutions = [layer for layer in references.layers(critic) if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == widths
    assert critic.layers(torch.randn(1, 1, size, size)).shape == (1, widths[-1], 2, 2)


@pytest.mark.parametrize("dropout", [0.25, 0.6])
def test_dropout_drops_whole_channels_in_training_only(dropout: float) -> None:
    critic = UpsampleConvCritic(32, 1, width=50, dropout=dropout)
    images = torch.randn(40, 1, 32, 32)
    masked, whole = critic.layers[0](images), critic.eval().layers[0](images)
    channels, kept = masked.flatten(2), (masked != 0).flatten(2).any(2)
    assert torch.equal(channels[~kept], torch.zeros_like(channels[~kept]))
    torch.testing.assert_close(channels[kept], whole.flatten(2)[kept] / (1 - dropout))
    # 2000 channels: five standard deviations of how many of them are dropped.
    assert 1 - kept.float().mean().item() == pytest.approx(dropout, abs=5 * (dropout * (1 - dropout) / 2000) ** 0.5)
    assert torch.equal(critic(images), critic(images))
    assert not torch.equal(critic.train()(images), critic(images))


@pytest.mark.parametrize("dropout", [1, 1.5, -0.1])
def test_dropout_is_from_0_to_below_1(dropout: float) -> None:
    with pytest.raises(SettingError, match=r"critic\.dropout"):
        bind(UpsampleConvCritic, {"dropout": dropout}, "critic", image_size=8, channels=1)
