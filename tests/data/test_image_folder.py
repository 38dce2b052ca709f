import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.data.files import fill, save, values
from wgan_cli.data import Dataset
from wgan_cli.data.image_folder import image_folder
from wgan_cli.errors import InputError


def load(root: Path, **settings: Any) -> Dataset:
    return image_folder(str(root), **{"image_size": 8, "test_fraction": 0.0, **settings})


def test_folders_are_searched_once_at_any_depth_without_hidden_and_other_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for i, name in enumerate(["a.png", "b/c/d.JPG", "../other/e.png", "b/.hidden.png", ".cache/f.png", "b/._a.png"]):
        save(root / name, 40 * i, "L")
    (root / "notes.txt").write_text("not an image")
    (root / "folder.png").mkdir()
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "loop").symlink_to(root)
    assert sorted(values(load(root).train)) == [0, 40, 80]


def test_endings_of_all_kinds_or_none_and_what_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = {"a.jfif": "JPEG", "b.JPE": "JPEG", "c.ppm": "PPM", "d.pgm": "PPM", "e.avif": "AVIF", "f": "PNG"}
    for i, (name, kind) in enumerate(kinds.items()):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / "partial", format=kind)
        (tmp_path / "partial").rename(tmp_path / name)
    for name in ("a.json", "b.JSON", "c.txt", "d.txt", "e.TXT", "notes"):
        (tmp_path / name).write_text("not an image")
    with caplog.at_level("INFO"):
        assert sorted(values(load(tmp_path, channels=1).train)) == pytest.approx([0, 40, 80, 120, 160, 200], abs=1)
    left_out = "6 files are not images and were left out: 3 .txt, 2 .json, 1 without an extension"
    assert f"{tmp_path}: {left_out}" in caplog.text


def test_the_samples_of_runs_are_skipped(tmp_path: Path) -> None:
    """Also if the folder itself is that of a run, as with ``dataset.root=.``."""
    fill(tmp_path, 2)
    for run in (tmp_path, tmp_path / "outputs" / "run"):
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.yaml").touch()
        save(run / "samples" / "real.png", 77, "L")
    save(tmp_path / "b" / "samples" / "c.png", 99, "L")
    (tmp_path / "b" / "config.yaml").touch()
    save(tmp_path / "c" / "samples" / "d.png", 101, "L")
    (tmp_path / "c" / "checkpoints").mkdir()
    assert sorted(values(load(tmp_path).train)) == [0, 2, 99, 101]


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, walk = load(fill(tmp_path, 30), test_fraction=0.1), os.walk

    def walk_backwards(*args: Any, **kwargs: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        return ((place, folders, files[::-1]) for place, folders, files in walk(*args, **kwargs))

    monkeypatch.setattr(os, "walk", walk_backwards)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    after = load(tmp_path, test_fraction=0.1)
    assert torch.equal(before.train, after.train)
    assert torch.equal(before.test, after.test)


def test_the_split_is_seeded_and_complete_and_a_limit_decodes_a_subset(tmp_path: Path, decoded: list[str]) -> None:
    limited = load(fill(tmp_path, 40), test_fraction=0.25, limit=4)
    assert len(limited.train) == len(limited.test) == 4
    assert len(decoded) == 8
    complete, again = (load(tmp_path, test_fraction=0.25) for _ in range(2))
    assert (len(complete.train), len(complete.test)) == (30, 10)
    assert sorted(values(complete.train) + values(complete.test)) == list(range(0, 80, 2))
    assert values(complete.test) == values(again.test)
    assert set(values(limited.train)) < set(values(complete.train))
    assert set(values(limited.test)) < set(values(complete.test))
    for limit, known in ((None, complete), (4, limited)):
        other = load(tmp_path, test_fraction=0.25, seed=1, limit=limit)
        assert set(values(other.train)) != set(values(known.train))
        assert set(values(other.test)) != set(values(known.test))


@pytest.mark.parametrize(("count", "fraction", "train"), [(1, 0.9, 1), (2, 0.99, 1), (3, 0.1, 3), (40, 0.999, 1)])
def test_at_least_one_image_is_left_for_training(count: int, fraction: float, train: int, tmp_path: Path) -> None:
    dataset = load(fill(tmp_path, count), test_fraction=fraction)
    assert (len(dataset.train), len(dataset.test)) == (train, count - train)


@pytest.mark.parametrize(
    ("root", "message"),
    [("missing", "^no such folder"), ("file.png", "^is not a folder"), ("empty", r"^contains no images; .*\.png, ")],
)
def test_a_root_without_images_is_refused(root: str, message: str, tmp_path: Path) -> None:
    save(tmp_path / "file.png")
    save(tmp_path / "empty" / ".hidden.png")
    with pytest.raises(InputError, match=message):
        load(tmp_path / root)


CATS, DOGS, EELS = list(range(0, 60, 5)), list(range(100, 130, 5)), list(range(200, 216, 5))
LABELS = {value: label for label, group in enumerate([CATS, DOGS, EELS]) for value in group}


def write_classes(root: Path, **values_of: list[int]) -> Path:
    """Write images of one value each into sub-folders."""
    for name, group in values_of.items():
        for value in group:
            save(root / name / f"{value}.png", value, "L")
    return root


def get_labels(dataset: Dataset) -> dict[int, int]:
    """Return the label of each value, in both parts."""
    assert dataset.train_labels is not None
    assert dataset.test_labels is not None
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    return dict(zip(values(torch.cat([dataset.train, dataset.test])), labels.tolist(), strict=True))


@pytest.mark.parametrize("limit", [None, 2])
def test_sub_folders_are_classes_with_the_numbers_of_torchvision(limit: int | None, tmp_path: Path) -> None:
    root = write_classes(tmp_path, eels=EELS, dogs=DOGS, cats=CATS)
    theirs = {image.getpixel((0, 0))[0]: label for image, label in ImageFolder(root)}
    dataset = load(root, channels=1, test_fraction=0.25, limit=limit)
    found = get_labels(dataset)
    assert len(found) == (4 if limit else len(LABELS))
    assert found.items() <= theirs.items() == LABELS.items()
    assert dataset.class_names == ["cats", "dogs", "eels"]


def test_the_first_folder_of_a_path_is_the_class(tmp_path: Path) -> None:
    dataset = load(write_classes(tmp_path, **{"b/x/y": [10], "b": [20], "a/x": [30], ".hidden": [40]}))
    assert get_labels(dataset) == {10: 1, 20: 1, 30: 0}
    assert dataset.class_names == ["a", "b"]


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        (["."], "classes are sub-folders, and it has none"),
        (["a"], "all images are in one sub-folder, 'a'"),
        (["a", "."], "classes are sub-folders, and '20.png' is not in one"),
        (["train", "test"], "classes are sub-folders, and it has none"),
        (["train/a", "train/b", "test"], r"classes are sub-folders, and 'test/\d+.png' is not in one"),
    ],
)
def test_why_there_are_no_classes(folders: list[str], reason: str, tmp_path: Path) -> None:
    root = write_classes(tmp_path, **{name: [20 * index] for index, name in enumerate(folders)})
    dataset = load(root)
    assert (dataset.train_labels, dataset.test_labels, dataset.class_names) == (None, None, None)
    assert re.fullmatch(reason, dataset.why_no_classes)


def test_folders_named_train_and_test_are_the_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    folders = {"train/b": [10, 20], "train/a": [30, 40], "val/b": [50, 60], "test/a": [70]}
    dataset = load(write_classes(tmp_path, **folders), test_fraction=0.5)
    assert get_labels(dataset) == {10: 1, 20: 1, 30: 0, 40: 0, 70: 0}
    assert (sorted(values(dataset.train)), values(dataset.test)) == ([10, 20, 30, 40], [70])
    assert dataset.class_names == ["a", "b"]
    parts = "train/ is the training part, and test/ is the test part; the other 2 images are left out"
    assert f"{tmp_path}: {parts}" in caplog.text
    write_classes(tmp_path, cats=[80])
    assert load(tmp_path).class_names == ["cats", "test", "train", "val"]


def test_labels_stay_with_their_images_if_some_are_unreadable(tmp_path: Path, decoded: list[str]) -> None:
    root = write_classes(tmp_path, cats=CATS, dogs=DOGS, eels=EELS)
    for i, folder in enumerate(["cats", "dogs", "eels", "cats", "dogs", "worms"]):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"bad{i}.png").write_text("not an image")
    for _ in range(2):  # the second time from the cache
        dataset = load(root, test_fraction=0.4)
        assert get_labels(dataset) == LABELS
        assert len(dataset.class_names or ()) == 4  # including the one without a readable image
    assert len(decoded) == 28


@pytest.mark.parametrize("seed", range(6))
def test_an_image_that_replaces_an_unreadable_training_part_keeps_its_label(seed: int, tmp_path: Path) -> None:
    write_classes(tmp_path, b=[10])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_text("not an image")
    dataset = load(tmp_path, test_fraction=0.5, seed=seed)
    assert get_labels(dataset) == {10: 1}
    assert (len(dataset.train), len(dataset.test)) == (1, 0)
