import pytest
import torch

from wgan_cli.data.dataset import Dataset
from wgan_cli.data.glyphs import glyphs


@pytest.fixture(scope="module")
def complete() -> Dataset:
    return glyphs()


def test_all_digits_are_equally_frequent_and_no_two_images_are_equal(complete: Dataset) -> None:
    assert complete.train.shape == (24_000, 1, 28, 28)
    assert complete.test.shape == (4_000, 1, 28, 28)
    for labels, count in [(complete.train_labels, 2400), (complete.test_labels, 400)]:
        assert labels is not None
        assert labels.bincount().tolist() == [count] * 10
    assert len({image.numpy().tobytes() for image in torch.cat([complete.train, complete.test])}) == 28_000


def test_the_digits_are_white_on_black_and_inside_the_image(complete: Dataset) -> None:
    ink = (complete.train > 127).float()
    shares = ink.flatten(1).mean(1)
    assert shares.min() > 0.03
    assert 0.11 < shares.mean() < 0.17  # MNIST's is 0.132
    assert shares.max() < 0.4
    assert complete.train.flatten(1).amax(1).min() > 150
    border = torch.cat([ink[..., 0, :], ink[..., -1, :], ink[..., :, 0], ink[..., :, -1]], dim=-1)
    assert border.mean() < 0.02


def test_the_labels_are_right_and_no_template_explains_the_images(complete: Dataset) -> None:
    assert complete.train_labels is not None
    assert complete.test_labels is not None
    train = complete.train.float().flatten(1)
    means = torch.stack([train[complete.train_labels == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(complete.test.float().flatten(1), means).argmin(1)
    accuracy = nearest.eq(complete.test_labels).float().mean()
    assert 0.65 < accuracy < 0.92  # MNIST's is 0.82; identical digits would give 1


def test_the_seed_decides_everything_and_a_limit_keeps_the_beginning(complete: Dataset) -> None:
    limited, other = glyphs(limit=33), glyphs(limit=33, seed=1)
    for part in ("train", "test", "train_labels", "test_labels"):
        assert torch.equal(getattr(limited, part), getattr(complete, part)[:33])
        assert not torch.equal(getattr(limited, part), getattr(other, part))
    assert limited.train_labels is not None
    assert limited.test_labels is not None
    assert not torch.equal(limited.train_labels, limited.test_labels)  # the parts are independent
    assert len(glyphs(limit=5000).test) == 4000
    assert glyphs(limit=3).class_names == "0123456789"


@pytest.mark.parametrize("size", [8, 33, 64, 65, 256])
def test_every_size_shows_the_same_digits(size: int, complete: Dataset) -> None:
    images = glyphs(image_size=size, channels=3, limit=20).train
    assert images.shape == (20, 3, size, size)
    assert torch.equal(images[:, 0], images[:, 2])
    small = torch.nn.functional.interpolate(images[:, :1].float(), (8, 8), mode="area")
    expected = torch.nn.functional.interpolate(complete.train[:20].float(), (8, 8), mode="area")
    assert (small - expected).abs().mean() < 8
    assert (small - expected.flip(0)).abs().mean() > 25
