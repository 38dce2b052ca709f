from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wgan_cli.data import DATASETS
from wgan_cli.data.dataset import Dataset, DataSpec, allocate_images, choose_subset, resize_images
from wgan_cli.errors import InputError, SettingError
from wgan_cli.parameters import bind

IMAGES = torch.arange(3 * 64, dtype=torch.uint8).view(3, 1, 8, 8)
LABELS = torch.tensor([4, 0, 1])


def make_dataset(**replaced: Any) -> Dataset:
    """Three images for training and two for testing, unless something is replaced."""
    parts = {"train": IMAGES, "test": IMAGES[:2]}
    labels = {"train_labels": LABELS, "test_labels": torch.tensor([0, 2]), "class_names": "abcde"}
    return Dataset(**{**parts, **labels, **replaced})


def test_a_subset_is_seeded_ascending_and_without_repetition_or_everything() -> None:
    chosen = choose_subset(1000, 50, 3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 50
    assert chosen.max() > 500  # not merely the first ones
    assert torch.equal(chosen, choose_subset(1000, 50, 3))
    assert not torch.equal(chosen, choose_subset(1000, 50, 4))
    for limit in (None, 5, 9):
        assert choose_subset(5, limit, 0).tolist() == [0, 1, 2, 3, 4]


def test_images_that_leave_no_memory_to_training_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few images are always loaded: they may be the least of what training takes."""
    monkeypatch.setattr("wgan_cli.data.dataset.measure_free_memory", lambda: 800_000_000)
    assert allocate_images((300, 1000, 1000)).shape == (300, 1000, 1000)
    with pytest.raises(InputError, match=r"need 0\.9 GB, and 0\.8 GB of memory are free; lower dataset\.image_size"):
        allocate_images((301, 1000, 1000))


def test_grey_is_repeated_and_color_becomes_luma_and_nothing_is_copied_in_vain() -> None:
    grey = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8)
    assert resize_images(grey, 8, 1) is grey
    assert torch.equal(resize_images(grey, 8, 3), grey.expand(-1, 3, -1, -1))
    red_green_blue = torch.eye(3, dtype=torch.uint8).mul(255).view(3, 3, 1, 1).expand(-1, -1, 8, 8)
    assert resize_images(red_green_blue, 8, 1)[:, 0, 0, 0].tolist() == [76, 150, 29]


@pytest.mark.parametrize("size", [8, 28, 100])
def test_resampling_does_not_wrap_around(size: int) -> None:
    images = torch.zeros(130, 1, 28, 28, dtype=torch.uint8)
    images[:, :, :, 14:] = 255  # a sharp edge makes bicubic interpolation overshoot
    resized = resize_images(images, size, 1)
    assert (resized.shape, resized.dtype) == ((130, 1, size, size), torch.uint8)
    assert (resized[:, :, :, : size // 2 - 1] < 30).all()
    assert (resized[:, :, :, size // 2 + 1 :] > 225).all()


def test_shrinking_averages() -> None:
    lines = torch.arange(32).remainder(4).eq(0).mul(255).to(torch.uint8).expand(1, 1, 32, 32)
    assert (resize_images(lines, 8, 1)[..., 1:-1].float() - 255 / 4).abs().max() < 10


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("glyphs", "image_size", 7),
        ("glyphs", "channels", 2),
        ("glyphs", "limit", 0),
        ("mnist", "seed", -1),
        ("image_folder", "test_fraction", 1.0),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, setting: str, value: float) -> None:
    settings = ({} if name == "glyphs" else {"root": "nowhere"}) | {setting: value}
    with pytest.raises(SettingError, match=rf"^dataset\.{setting}={value}: must be"):
        bind(DATASETS[name], settings, "dataset")


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"train": IMAGES.float()}, r"train must be .* it is torch.float32 \(3, 1, 8, 8\)"),
        ({"test": IMAGES[:2, 0]}, r"test must be .* it is torch.uint8 \(2, 8, 8\)"),
        ({"train": IMAGES.numpy()}, "train must be .* it is of type ndarray"),
        ({"train": torch.zeros(3, 2, dtype=torch.float64)}, r"train must be .* it is torch.float64 \(3, 2\)"),
        ({"train_labels": LABELS[:2]}, r"train_labels must be an int64 tensor \(3,\)"),
        ({"test_labels": LABELS}, r"test_labels must be an int64 tensor \(2,\)"),
        ({"train_labels": LABELS[:, None]}, r"it is torch.int64 \(3, 1\)"),
        ({"train_labels": LABELS.int()}, r"it is torch.int32 \(3,\)"),
        ({"train_labels": np.zeros(3, np.int64)}, "it is of type ndarray"),
        ({"class_names": "abcd"}, r"train_labels must be from 0 to 3, .*; they are 0 to 4"),
        ({"test_labels": torch.tensor([0, -1])}, r"test_labels must be .*; they are -1 to 0"),
        *(({name: None}, "given together") for name in ("train_labels", "test_labels", "class_names")),
    ],
)
def test_arrays_that_do_not_fit_are_refused(replaced: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_dataset(**replaced)


def test_classes_and_parts_may_be_empty() -> None:
    images, labels = torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    assert Dataset(images, images, labels, labels, "ab").describe(conditional=True).num_classes == 2


def test_the_training_part_is_described_with_its_classes_if_training_uses_them() -> None:
    """A checkpoint has the fingerprint. Its value is that of the first version."""
    for conditional, classes in ((True, tuple("abcde")), (False, None)):
        described = make_dataset().describe(conditional)
        assert described == DataSpec((1, 8, 8), classes, 3, "41f34544d843c7f0a120ed879165cfeb")
    points = Dataset(torch.randn(20, 2), torch.randn(0, 2)).describe(conditional=False)
    assert (points.shape, points.class_names, points.count) == ((2,), None, 20)


def test_the_fingerprint_is_of_everything_that_training_may_use() -> None:
    """One bit, one label, the order, the shape or the number of classes changes it; the test part does not."""
    images, labels = torch.arange(2 * 3 * 64, dtype=torch.uint8).view(2, 3, 8, 8), torch.tensor([0, 1])

    def compute(train: Tensor, of: Tensor | None = labels, classes: str | None = "ab", test: int = 0) -> str:
        part = torch.zeros(test, *train.shape[1:], dtype=train.dtype)
        test_labels = None if of is None else torch.zeros(test, dtype=torch.int64)
        return Dataset(train, part, of, test_labels, classes).describe(conditional=False).fingerprint

    one_bit, points = images.clone(), torch.randn(2, 2)
    one_bit[1, 2, 7, 7] ^= 1
    arrays = [one_bit, images.flip(0), images.transpose(2, 3), points, points.nextafter(points + 1)]
    others = [*map(compute, arrays), compute(images.view(6, 1, 8, 8), labels.repeat(3))]
    others += [compute(images, labels.flip(0)), compute(images, labels, "abc"), compute(images, None, None)]
    assert len({compute(images), *others}) == 1 + len(others)
    strided = torch.stack([images, images], -1)[..., 0]
    assert compute(images) == compute(images.clone()) == compute(images, test=5) == compute(strided)
