from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders import CPU, uint8_images
from wgan_cli.data.batches import Batches
from wgan_cli.networks.players import Batch
from wgan_cli.training.streams import Streams

BATCH = 4


def numbered(count: int) -> Tensor:
    """Image k has the value k on its left and 255 − k on its right, so that a batch tells which images it has."""
    left = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 1, 2, 1)
    return torch.cat([left, 255 - left], dim=3)


def make_batches(samples: Tensor, batch_size: int = BATCH, seed: int = 0, flips: bool = False, **more: Any) -> Batches:
    streams = Streams(seed, CPU)
    flip = partial(streams.at, "critic flips") if flips else None
    return Batches(samples, batch_size, CPU, partial(streams.at, "critic images"), flip=flip, **more)


def numbers(batch: Batch) -> list[int]:
    return [int(value) for value in ((batch.samples[:, 0, 0, 0] + 1) * 127.5).round()]


def list_classes(batch: Batch) -> list[int] | None:
    return None if batch.classes is None else batch.classes.tolist()


def list_epoch(batches: Batches, epoch: int) -> list[int]:
    positions = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
    return [number for position in positions for number in numbers(batches[position])]


@pytest.mark.parametrize("count", [4, 12, 13, 15])
def test_an_epoch_has_each_image_at_most_once_and_no_partial_batch(count: int) -> None:
    batches = make_batches(numbered(count))
    assert batches.per_epoch == count // BATCH
    for epoch in range(5):
        seen = list_epoch(batches, epoch)
        assert len(seen) == len(set(seen)) == count // BATCH * BATCH
        assert set(seen) <= set(range(count))
    assert all(len(batches[position].samples) == BATCH for position in range(3 * batches.per_epoch))


def test_epochs_do_not_always_drop_the_same_images() -> None:
    batches = make_batches(numbered(13))
    assert len({min(set(range(13)) - set(list_epoch(batches, epoch))) for epoch in range(40)}) > 5


def test_orders_differ_between_epochs_and_seeds() -> None:
    shuffled = [make_batches(numbered(40), seed=seed) for seed in range(3)]
    orders = {tuple(list_epoch(batches, epoch)) for batches in shuffled for epoch in range(4)}
    assert len(orders) == 12
    assert tuple(range(40)) not in orders


@pytest.mark.parametrize("flips", [False, True])
def test_a_batch_depends_on_its_position_and_changing_it_changes_nothing_else(flips: bool) -> None:
    images = uint8_images(14)
    before, stream = images.clone(), torch.get_rng_state()
    sequential, jumping = make_batches(images, flips=flips), make_batches(images, flips=flips)
    expected = [sequential[position].samples.clone() for position in range(9)]
    for position in (8, 0, 7, 7, 1, 6, 2, 5, 3, 4, 0, 8):
        for batches in (jumping, make_batches(images, flips=flips)):
            samples = batches[position].samples
            assert torch.equal(samples, expected[position])
            samples.zero_()
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), stream)


def test_every_value_maps_exactly_and_back() -> None:
    """The map is fixed, 0 → −1 and 255 → 1, whatever the minimum and maximum of a batch."""
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    batch = make_batches(images, 256)[0].samples.flatten().sort().values
    assert (batch.dtype, batch[0].item(), batch[255].item()) == (torch.float32, -1, 1)
    assert torch.equal(((batch + 1) * 127.5).round().to(torch.uint8), torch.arange(256, dtype=torch.uint8))
    # Two float32 operations on numbers up to 2: each rounds by at most 2⁻²⁴ of 2.
    np.testing.assert_allclose(batch.double().numpy(), np.arange(256) / 127.5 - 1, rtol=0, atol=2 * 2**-23)
    dim = make_batches(torch.full((4, 1, 2, 2), 100, dtype=torch.uint8))[0].samples
    assert torch.allclose(dim, torch.tensor(100 / 127.5 - 1))


@pytest.mark.parametrize("samples", [uint8_images(14), uint8_images(14, 3), torch.linspace(-300, 300, 28).view(14, 2)])
def test_pixels_stay_in_place_channels_last_and_points_are_given_as_they_are(samples: Tensor) -> None:
    batches = make_batches(samples, labels=torch.arange(14))
    for position in (0, 1, 5, 2, 4, 2):
        given, classes = batches[position]
        assert classes is not None
        if samples.dtype == torch.uint8:
            assert given.is_contiguous(memory_format=torch.channels_last)
            given = ((given + 1) * 127.5).round().to(torch.uint8)
        assert torch.equal(given, samples[classes])


@pytest.mark.parametrize("samples", [numbered(13), torch.zeros(13, 2)])
@pytest.mark.parametrize("labels", [torch.arange(13) * 7, None])
def test_batches_without_samples_have_the_same_classes(samples: Tensor, labels: Tensor | None) -> None:
    full = make_batches(samples, labels=labels)
    empty = make_batches(samples, labels=labels, flips=True, with_samples=False)
    assert empty.per_epoch == full.per_epoch
    for position in (0, 7, 3):
        assert empty[position].samples.shape == (0, *samples.shape[1:])
        assert empty[position].samples.dtype == torch.float32
        assert list_classes(empty[position]) == list_classes(full[position])


def test_flips_mirror_single_images_and_change_nothing_else() -> None:
    images = numbered(40)
    plain, flipped = make_batches(images), make_batches(images, flips=True)
    mirrored = []
    for position in range(300):
        for before, after in zip(plain[position].samples, flipped[position].samples, strict=True):
            mirrored.append(not torch.equal(before, after))
            assert torch.equal(after, before.flip(2) if mirrored[-1] else before)
    # 1,200 throws of a coin: 600, standard deviation 17; bounds of five of them.
    assert 513 < sum(mirrored) < 687
    assert {sum(mirrored[start : start + BATCH]) for start in range(0, 1200, BATCH)} == {0, 1, 2, 3, 4}
    other = make_batches(images, seed=1, flips=True)
    assert not all(torch.equal(flipped[position].samples, other[position].samples) for position in range(10))
