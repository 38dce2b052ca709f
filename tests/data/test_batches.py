from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders import CPU, SIZE, uint8_images
from wgan_cli.data.batches import Batches
from wgan_cli.training.streams import Streams

BATCH = 4


def numbered(count: int) -> Tensor:
    """Image k is k all over, so that a batch tells which images it holds."""
    return torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 1, 2, 2).contiguous()


def batches_of(images: Tensor, batch_size: int = BATCH, seed: int = 0) -> Batches:
    return Batches(images, batch_size, CPU, lambda epoch: Streams(seed, CPU).at("critic images", epoch))


def numbers(batch: Tensor) -> list[int]:
    return [int(value) for value in ((batch[:, 0, 0, 0] + 1) * 127.5).round()]


def epoch_of(batches: Batches, epoch: int) -> list[int]:
    positions = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
    return [number for position in positions for number in numbers(batches[position])]


@pytest.mark.parametrize("count", [4, 12, 13, 15])
def test_an_epoch_holds_each_image_at_most_once_and_drops_the_last_partial_batch(count: int) -> None:
    batches = batches_of(numbered(count))
    assert batches.per_epoch == count // BATCH
    for epoch in range(5):
        seen = epoch_of(batches, epoch)
        assert len(seen) == len(set(seen)) == count // BATCH * BATCH
        assert set(seen) <= set(range(count))
    assert all(len(batches[position]) == BATCH for position in range(3 * batches.per_epoch))


def test_what_an_epoch_drops_is_not_always_the_same() -> None:
    batches = batches_of(numbered(13))
    assert {number for epoch in range(40) for number in epoch_of(batches, epoch)} == set(range(13))
    assert len({min(set(range(13)) - set(epoch_of(batches, epoch))) for epoch in range(40)}) > 5


def test_orders_differ_between_epochs_and_seeds() -> None:
    """Images in file order, class by class, are what two of the peers train on."""
    orders = {tuple(epoch_of(batches_of(numbered(40), seed=seed), epoch)) for seed in range(3) for epoch in range(4)}
    assert len(orders) == 12
    assert tuple(range(40)) not in orders


def test_every_image_is_as_likely_at_every_place() -> None:
    first = [numbers(batches_of(numbered(8), seed=seed)[0])[0] for seed in range(800)]
    # 800 draws of 8 equally likely: 100 each, standard deviation 9.4; bounds of five of them.
    assert all(53 < first.count(number) < 147 for number in range(8))


def test_random_access_equals_sequential_access() -> None:
    images = uint8_images(14)
    sequential = batches_of(images)
    expected = [sequential[position].clone() for position in range(9)]
    jumping = batches_of(images)
    for position in (8, 0, 7, 7, 1, 6, 2, 5, 3, 4, 0, 8):
        assert torch.equal(jumping[position], expected[position])
        assert torch.equal(batches_of(images)[position], expected[position])


def test_a_batch_is_its_readers_own() -> None:
    images = uint8_images(14)
    before, batches = images.clone(), batches_of(images)
    kept = batches[0].clone()
    batches[0].zero_()
    assert torch.equal(batches[0], kept)
    assert torch.equal(images, before)


def test_every_value_maps_exactly_and_back() -> None:
    """A fixed map, 0 → −1 and 255 → 1: never by a batch's own minimum and maximum."""
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    batch = batches_of(images, 256)[0].flatten().sort().values
    assert batch.dtype == torch.float32
    assert batch[0] == -1
    assert batch[255] == 1
    back = ((batch + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(back, torch.arange(256, dtype=torch.uint8))
    exact = np.arange(256) / 127.5 - 1
    # Two float32 operations on numbers up to 2: each rounds by at most 2⁻²⁴ of 2.
    np.testing.assert_allclose(batch.double().numpy(), exact, rtol=0, atol=2 * 2**-23)
    dim = batches_of(torch.full((4, 1, 2, 2), 100, dtype=torch.uint8))[0]
    assert torch.allclose(dim, torch.tensor(100 / 127.5 - 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_images_channels_last(channels: int) -> None:
    images = uint8_images(8, channels)
    batch = batches_of(images)[0]
    assert batch.shape == (BATCH, channels, SIZE, SIZE)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    # Pixels stay where they were: each image of the batch is one of the source's.
    source = {tuple(image.flatten().tolist()) for image in images}
    assert all(tuple(image.flatten().tolist()) in source for image in ((batch + 1) * 127.5).round().to(torch.uint8))


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_a_memory_mapped_source_gives_the_same(mode: str, tmp_path: Path) -> None:
    images = uint8_images(14)
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = np.load(tmp_path / "images.npy", mmap_mode=mode)  # type: ignore[arg-type]  # numpy wants a literal
    assert isinstance(mapped, np.memmap)
    from_file, from_memory = batches_of(torch.from_numpy(mapped)), batches_of(images)
    for position in range(6):
        assert torch.equal(from_file[position], from_memory[position])


def test_the_global_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    batches_of(numbered(8))[0]
    assert torch.equal(torch.get_rng_state(), before)


def asymmetric(count: int) -> Tensor:
    """Image k is k on its left and 255 − k on its right."""
    left = numbered(count)
    return torch.cat([left, 255 - left], dim=3)


def test_labels_stay_beside_their_images() -> None:
    labels = torch.arange(13) * 7
    batches = Batches(numbered(13), BATCH, CPU, lambda epoch: Streams(0, CPU).at("critic images", epoch), labels)
    for position in (0, 5, 2, 11, 2):
        classes = batches.classes(position)
        assert classes is not None
        assert classes.tolist() == [7 * number for number in numbers(batches[position])]
    assert batches_of(numbered(13)).classes(3) is None


def flipping(images: Tensor, seed: int = 0) -> Batches:
    streams = Streams(seed, CPU)
    return Batches(
        images,
        BATCH,
        CPU,
        lambda epoch: streams.at("critic images", epoch),
        flip=lambda position: streams.at("critic flips", position),
    )


def test_flips_mirror_single_images_and_nothing_else() -> None:
    images = asymmetric(40)
    plain, flipped = batches_of(images), flipping(images)
    mirrored = []
    for position in range(300):
        for before, after in zip(plain[position], flipped[position], strict=True):
            mirrored.append(not torch.equal(before, after))
            assert torch.equal(after, before.flip(2) if mirrored[-1] else before)
    # 1,200 throws of a coin: 600, standard deviation 17; bounds of five of them.
    assert 513 < sum(mirrored) < 687
    assert {sum(mirrored[start : start + BATCH]) for start in range(0, 1200, BATCH)} == {0, 1, 2, 3, 4}


def test_flips_depend_on_nothing_but_seed_and_position() -> None:
    images = asymmetric(40)
    first, second = flipping(images), flipping(images)
    for position in (17, 3, 17, 25):
        assert torch.equal(first[position], second[position])
    assert not all(torch.equal(first[position], flipping(images, seed=1)[position]) for position in range(10))
