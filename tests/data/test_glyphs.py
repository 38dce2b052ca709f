import pytest
import torch

from wgan_cli.data.dataset import Dataset
from wgan_cli.data.glyphs import glyphs


@pytest.fixture(scope="module")
def whole() -> Dataset:
    return glyphs()


def class_means(dataset: Dataset) -> torch.Tensor:
    assert dataset.train_labels is not None
    return torch.stack([dataset.train[dataset.train_labels == digit].float().mean(0) for digit in range(10)])


def test_it_holds_labelled_uint8_images(whole: Dataset) -> None:
    assert whole.train.shape == (24_000, 1, 28, 28)
    assert whole.test.shape == (4_000, 1, 28, 28)
    assert whole.train.dtype == whole.test.dtype == torch.uint8
    for labels, count in [(whole.train_labels, 2400), (whole.test_labels, 400)]:
        assert labels is not None
        assert labels.dtype == torch.int64
        assert labels.bincount().tolist() == [count] * 10


def test_the_digits_are_white_on_black_and_inside_the_image(whole: Dataset) -> None:
    ink = (whole.train > 127).float()
    assert 0.11 < ink.mean() < 0.17  # MNIST's is 0.132
    assert ink.flatten(1).mean(1).min() > 0.03
    assert ink.flatten(1).mean(1).max() < 0.4
    assert whole.train.flatten(1).amax(1).min() > 150
    border = torch.cat([ink[..., 0, :], ink[..., -1, :], ink[..., :, 0], ink[..., :, -1]], dim=-1)
    assert border.mean() < 0.02


def test_the_labels_say_what_is_shown_and_no_template_explains_it(whole: Dataset) -> None:
    means = class_means(whole).flatten(1)
    nearest = torch.cdist(whole.test.float().flatten(1), means).argmin(1)
    assert whole.test_labels is not None
    accuracy = nearest.eq(whole.test_labels).float().mean()
    assert 0.65 < accuracy < 0.92  # MNIST's is 0.82; unvaried digits would have 1


def test_no_two_images_are_equal(whole: Dataset) -> None:
    images = torch.cat([whole.train, whole.test])
    assert len({image.numpy().tobytes() for image in images}) == 28_000


def test_the_seed_decides_everything() -> None:
    first, again, other = glyphs(limit=50, seed=1), glyphs(limit=50, seed=1), glyphs(limit=50, seed=2)
    assert torch.equal(first.train, again.train)
    assert torch.equal(first.test, again.test)
    assert not torch.equal(first.train, other.train)
    assert not torch.equal(first.test, other.test)
    assert first.train_labels is not None
    assert other.train_labels is not None
    assert first.test_labels is not None
    assert not torch.equal(first.train_labels, other.train_labels)
    assert not torch.equal(first.train_labels, first.test_labels)  # the parts are independent


def test_a_limit_keeps_the_beginning_of_each_part(whole: Dataset) -> None:
    limited = glyphs(limit=33)
    assert torch.equal(limited.train, whole.train[:33])
    assert torch.equal(limited.test, whole.test[:33])
    assert limited.train_labels is not None
    assert whole.train_labels is not None
    assert torch.equal(limited.train_labels, whole.train_labels[:33])
    assert len(glyphs(limit=5000).test) == 4000


@pytest.mark.parametrize("size", [8, 33, 64, 65, 256])
def test_every_size_shows_the_same_digits(size: int, whole: Dataset) -> None:
    images = glyphs(image_size=size, channels=3, limit=20).train
    assert images.shape == (20, 3, size, size)
    assert torch.equal(images[:, 0], images[:, 2])
    small = torch.nn.functional.interpolate(images[:, :1].float(), (8, 8), mode="area")
    expected = torch.nn.functional.interpolate(whole.train[:20].float(), (8, 8), mode="area")
    assert (small - expected).abs().mean() < 8
    assert (small - expected.flip(0)).abs().mean() > 25
