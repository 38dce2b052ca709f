import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from wgan_cli.data import DATASETS
from wgan_cli.data.dataset import Dataset, fit, subset
from wgan_cli.parameters import SettingError, bind

# What an option sets for the one who loads the dataset, and no dataset takes.
OF_THE_CALLER = ("flip", "conditional")
CONF = Path(__file__).parents[2] / "conf" / "dataset"


def test_subset_keeps_everything_without_a_limit_that_binds() -> None:
    assert subset(5, None, 0).tolist() == [0, 1, 2, 3, 4]
    assert subset(5, 9, 0).tolist() == [0, 1, 2, 3, 4]


def test_subset_is_seeded_ascending_and_without_repetition() -> None:
    chosen = subset(1000, 50, 3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 50
    assert chosen.max() > 500  # not merely the first ones
    assert torch.equal(chosen, subset(1000, 50, 3))
    assert not torch.equal(chosen, subset(1000, 50, 4))


def test_fit_leaves_images_that_fit_alone() -> None:
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    assert fit(images, 8, 1) is images


def test_fit_repeats_grey_and_turns_color_to_luma() -> None:
    grey = torch.randint(256, (200, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(fit(grey, 8, 3), grey.expand(-1, 3, -1, -1))
    red_green_blue = torch.eye(3, dtype=torch.uint8).mul(255).view(3, 3, 1, 1).expand(-1, -1, 8, 8)
    assert fit(red_green_blue, 8, 1)[:, 0, 0, 0].tolist() == [76, 150, 29]


@pytest.mark.parametrize("size", [8, 28, 100])
def test_fit_resamples_without_wrapping_around(size: int) -> None:
    images = torch.zeros(130, 1, 28, 28, dtype=torch.uint8)
    images[:, :, :, 14:] = 255  # a sharp edge makes bicubic interpolation overshoot
    fitted = fit(images, size, 1)
    assert fitted.shape == (130, 1, size, size)
    assert fitted.dtype == torch.uint8
    assert (fitted[:, :, :, : size // 2 - 1] < 30).all()
    assert (fitted[:, :, :, size // 2 + 1 :] > 225).all()


def test_fit_averages_what_it_shrinks() -> None:
    checkered = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).mul(255).to(torch.uint8)
    assert (fit(checkered.view(1, 1, 32, 32), 8, 1).float() - 127.5).abs().max() < 10


@pytest.mark.parametrize("name", DATASETS)
def test_the_yaml_file_holds_each_parameter_with_its_default(name: str) -> None:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(settings, dict)
    assert settings.pop("name") == name
    parameters = inspect.signature(DATASETS[name]).parameters
    assert list(settings) == [*parameters, *OF_THE_CALLER]
    assert not any(settings[key] for key in OF_THE_CALLER)
    for key, parameter in parameters.items():
        assert settings[key] == ("???" if parameter.default is parameter.empty else parameter.default)


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
    settings = {"name": name} | ({} if name == "glyphs" else {"root": "nowhere"}) | {setting: value}
    with pytest.raises(SettingError, match=rf"^dataset\.{setting}={value}: must be"):
        bind(DATASETS[name], settings, "dataset")


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 1, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), np.zeros((3, 1, 8, 8), np.uint8)]
)
def test_other_arrays_are_refused(images: Any) -> None:
    whole = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    for parts in ((images, whole), (whole, images)):
        with pytest.raises(TypeError, match="must be a uint8 tensor"):
            Dataset(*parts)


def labelled(**replaced: Any) -> Dataset:
    """Three images to train on and two to test on, of the classes 0 to 4, unless something is replaced."""
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    parts = {"train_labels": torch.tensor([4, 0, 1]), "test_labels": torch.tensor([0, 2]), "num_classes": 5}
    return Dataset(images, images[:2], **{**parts, **replaced})


def test_labels_may_leave_classes_and_images_out() -> None:
    assert labelled().num_classes == 5
    images, labels = torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    assert Dataset(images, images, labels, labels, 2).num_classes == 2


@pytest.mark.parametrize("missing", ["train_labels", "test_labels", "num_classes"])
def test_labels_and_the_number_of_classes_come_together(missing: str) -> None:
    with pytest.raises(TypeError, match="come together or not at all"):
        labelled(**{missing: None})


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"train_labels": torch.zeros(2, dtype=torch.int64)}, r"train_labels must be an int64 tensor \(3,\)"),
        ({"test_labels": torch.zeros(3, dtype=torch.int64)}, r"test_labels must be an int64 tensor \(2,\)"),
        ({"train_labels": torch.zeros(3, 1, dtype=torch.int64)}, r"it is torch.int64 \(3, 1\)"),
        ({"train_labels": torch.zeros(3, dtype=torch.int32)}, r"it is torch.int32 \(3,\)"),
        ({"train_labels": np.zeros(3, np.int64)}, "it is int64"),
        ({"num_classes": 4}, r"train_labels must be from 0 to 3, .*; they are 0 to 4"),
        ({"test_labels": torch.tensor([0, -1])}, r"test_labels must be .*; they are -1 to 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(replaced: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        labelled(**replaced)


def test_glyphs_have_ten_classes_whatever_a_limit_leaves() -> None:
    assert DATASETS["glyphs"](limit=3).num_classes == 10


def test_the_digest_is_of_all_that_is_trained_on() -> None:
    """One bit, one label, the order, the shape or the number of classes makes another; the test part does not."""
    images, labels = torch.arange(2 * 3 * 64, dtype=torch.uint8).view(2, 3, 8, 8), torch.tensor([0, 1])

    def digest(train: torch.Tensor, of: torch.Tensor | None = labels, classes: int | None = 2, test: int = 0) -> str:
        part = torch.zeros(test, *train.shape[1:], dtype=torch.uint8)
        test_labels = None if of is None else torch.zeros(test, dtype=torch.int64)
        return Dataset(train, part, of, test_labels, classes).digest()

    one_bit = images.clone()
    one_bit[1, 2, 7, 7] ^= 1
    others = [
        digest(one_bit),
        digest(images.flip(0)),
        digest(images.view(6, 1, 8, 8), labels.repeat(3)),
        digest(images.transpose(2, 3)),
        digest(images, labels.flip(0)),
        digest(images, labels, 3),
        digest(images, None, None),
    ]
    assert len({digest(images), *others}) == 1 + len(others)
    assert digest(images.clone()) == digest(images, test=5) == digest(images)
    strided = torch.stack([images, images], -1)[..., 0]
    assert digest(strided) == digest(images)
