from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.networks.upsample_conv import UpsampleConvCritic, UpsampleConvGenerator
from wgan_cli.parameters import SettingError, bind

PYTORCH_GAN: dict[str, Any] = {"normalization": "batch", "normalization_eps": 0.8}
GENERATOR_WIDTH, CRITIC_WIDTH = 64, 16  # PyTorch-GAN's


def test_published_generator() -> None:
    generator = UpsampleConvGenerator(32, 1, width=GENERATOR_WIDTH, **PYTORCH_GAN)
    published = references.pytorch_gan_upsample_generator()
    assert references.parameter_count(generator) == references.parameter_count(published) == 1_049_985
    references.copy_in_order(published, generator)
    latents = torch.randn(5, 100)
    for training in (True, False):  # BatchNorm differs between them; train first, so that its averages moved
        # The same layers in the same order on the same numbers: in-place activations change no bit.
        expected = published.train(training)(latents)
        torch.testing.assert_close(generator.train(training)(latents), expected, rtol=0, atol=0)


def test_published_critic() -> None:
    critic = UpsampleConvCritic(32, 1, width=CRITIC_WIDTH, **PYTORCH_GAN)
    published = references.pytorch_gan_dropout_critic()
    assert references.parameter_count(critic) == references.parameter_count(published) == 98_113
    references.copy_in_order(published, critic)
    images = torch.rand(5, 1, 32, 32) * 2 - 1
    scores = []
    for network in (critic, published):
        torch.manual_seed(4)  # what dropout draws from
        scores.append((network.train()(images), network.eval()(images)))
    torch.testing.assert_close(*scores, rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [*range(8, 40), 63, 64, 65, 100, 127, 128, 129, 255, 256])
def test_image_sizes(size: int, channels: int) -> None:
    images = UpsampleConvGenerator(size, channels, latent_dim=2, width=1)(torch.randn(2, 2))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert UpsampleConvCritic(size, channels, width=1)(images).shape == (2,)


@pytest.mark.parametrize("size", [8, 9, 16, 17, 28, 33, 64, 100, 255, 256])
def test_generator_doubles_and_cuts(size: int) -> None:
    """From 4 to 8 pixels each size is twice the one before, or one less; pixels are repeated."""
    generator = UpsampleConvGenerator(size, 3, latent_dim=2, width=2)
    layers: list[Any] = references.layers(generator)
    sizes = [layers[1].unflattened_size[1]]
    for layer in layers:
        if isinstance(layer, nn.Upsample):
            image = torch.randn(1, 2, sizes[-1], sizes[-1])
            larger = layer(image)
            twice = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
            sizes.append(larger.shape[2])
            assert torch.equal(larger, twice[:, :, : sizes[-1], : sizes[-1]])
    assert 4 <= sizes[0] <= 8
    assert sizes[-1] == size
    assert all(after in (2 * before, 2 * before - 1) for before, after in pairwise(sizes))
    assert len(sizes) == 2 or sizes[1] > 8


@pytest.mark.parametrize(("size", "ups"), [(8, 1), (16, 1), (17, 2), (32, 2), (33, 3), (64, 3), (128, 4), (256, 5)])
def test_width_of_the_generator(size: int, ups: int) -> None:
    """``width`` before the image, twice that in every layer before."""
    convolutions = [m for m in UpsampleConvGenerator(size, 3, width=5).modules() if isinstance(m, nn.Conv2d)]
    widths = [(layer.in_channels, layer.out_channels) for layer in convolutions]
    assert widths == [*[(10, 10)] * (ups - 1), (10, 5), (5, 3)]


@pytest.mark.parametrize(
    ("size", "widths", "left"),
    [
        (8, [3, 6], 2),
        (9, [3, 6, 12], 2),
        (28, [3, 6, 12, 24], 2),
        (33, [3, 6, 12, 24, 24], 2),
        (256, [3, 6, 12, *[24] * 4], 2),
    ],
)
def test_critic_halves_to_two_pixels(size: int, widths: list[int], left: int) -> None:
    critic = UpsampleConvCritic(size, 1, width=3)
    convolutions = [layer for layer in critic.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == widths
    assert critic.layers(torch.randn(1, 1, size, size)).shape == (1, widths[-1], left, left)


@pytest.mark.parametrize("kind", ["none", "batch", "layer"])
def test_normalisation_stands_where_pytorch_gan_has_it(kind: str) -> None:
    """In the generator once more at the beginning, always with torch's eps; in the critic after the dropout."""
    layer: dict[str, list[type[nn.Module]]] = {"none": [], "batch": [nn.BatchNorm2d], "layer": [nn.GroupNorm]}
    norm, settings = layer[kind], dict[str, Any](width=2, normalization=kind, normalization_eps=0.8)
    generator, critic = UpsampleConvGenerator(28, 1, **settings), UpsampleConvCritic(28, 1, **settings)
    up = [nn.Upsample, nn.Conv2d, *norm, nn.LeakyReLU]
    assert [type(m) for m in references.layers(generator)] == [nn.Linear, nn.Unflatten, *norm, *up * 2, nn.Conv2d]
    down = [nn.Conv2d, nn.LeakyReLU, nn.Dropout2d]
    assert [type(m) for m in references.layers(critic)] == [*down, *[*down, *norm] * 3, nn.Linear]
    eps = [[m.eps for m in network.modules() if hasattr(m, "eps")] for network in (generator, critic)]
    assert eps == ([[], []] if kind == "none" else [[1e-5, 0.8, 0.8], [0.8] * 3])


@pytest.mark.parametrize("dropout", [0.25, 0.6])
def test_dropout_leaves_out_whole_channels_in_training_only(dropout: float) -> None:
    critic = UpsampleConvCritic(32, 1, width=50, dropout=dropout)
    images = torch.randn(40, 1, 32, 32)
    masked, whole = critic.layers[:3](images), critic.eval().layers[:3](images)
    channels, kept = masked.flatten(2), (masked != 0).flatten(2).any(2)
    assert torch.equal(channels[~kept], torch.zeros_like(channels[~kept]))
    torch.testing.assert_close(channels[kept], whole.flatten(2)[kept] / (1 - dropout))
    # 2000 channels: five standard deviations of how many of them are left out.
    assert 1 - kept.float().mean().item() == pytest.approx(dropout, abs=5 * (dropout * (1 - dropout) / 2000) ** 0.5)
    assert torch.equal(critic(images), critic(images))
    assert not torch.equal(critic.train()(images), critic(images))


def test_no_dropout() -> None:
    critic = UpsampleConvCritic(16, 1, dropout=0.0)
    images = torch.randn(4, 1, 16, 16)
    assert torch.equal(critic(images), critic.eval()(images))


@pytest.mark.parametrize("dropout", [1, 1.5, -0.1])
def test_dropout_is_from_0_to_below_1(dropout: float) -> None:
    with pytest.raises(SettingError, match=r"critic\.dropout"):
        bind(UpsampleConvCritic, {"dropout": dropout}, "critic", image_size=8, channels=1)


def test_the_generator_has_no_dropout() -> None:
    assert not any(isinstance(module, nn.Dropout2d) for module in UpsampleConvGenerator(32, 1).modules())


def test_initialization_is_torchs_by_default() -> None:
    """The same draws in the same order as torch's own layers make them: nothing was drawn or changed after."""
    pairs: list[tuple[Callable[..., nn.Module], int, Callable[[], nn.Module]]] = [
        (UpsampleConvGenerator, GENERATOR_WIDTH, references.pytorch_gan_upsample_generator),
        (UpsampleConvCritic, CRITIC_WIDTH, references.pytorch_gan_dropout_critic),
    ]
    for ours, width, theirs in pairs:
        torch.manual_seed(3)
        network = ours(32, 1, width=width, normalization="batch")
        torch.manual_seed(3)
        for mine, published in zip(network.parameters(), theirs().parameters(), strict=True):
            assert torch.equal(mine, published)
