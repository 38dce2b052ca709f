import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.data.files import save
from wgan_cli.data import cache, decode
from wgan_cli.data.image_folder import image_folder
from wgan_cli.parameters import SettingError


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as long as the test runs."""
    names: list[str] = []
    original = decode._decode

    def recording(path: Path, channels: int, image_size: int) -> cache.Pixels:
        names.append(path.name)
        return original(path, channels, image_size)

    monkeypatch.setattr(decode, "_decode", recording)
    return names


def fill(folder: Path, count: int) -> Path:
    """Write ``count`` images of one value each, all different: i.png is of value 2 × i."""
    for i in range(count):
        save(folder / f"{i:03}.png", 2 * i, "L")
    return folder


def values(images: torch.Tensor) -> list[int]:
    """Return the values of images that are of one value each."""
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_folders_are_searched_at_any_depth_but_hidden_ones_and_other_files(tmp_path: Path) -> None:
    for i, name in enumerate(["a.png", "b/c/d.jpg", "b/.hidden.png", ".cache/e.png", "b/._a.png"]):
        save(tmp_path / name, 40 * i, "L")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.0)
    assert sorted(values(dataset.train)) == [0, 40]


def test_the_pictures_of_runs_are_no_images(tmp_path: Path) -> None:
    """Where one trains in the very folder, ``dataset.root=.``"""
    root = fill(tmp_path, 2)
    for run in (root, root / "outputs" / "run"):
        (run / ".hydra").mkdir(parents=True)
        save(run / "samples" / "real.png", 77, "L")
    save(root / "b" / "samples" / "c.png", 99, "L")
    assert sorted(values(image_folder(str(root), image_size=8, test_fraction=0.0).train)) == [0, 2, 99]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.png", 10, "L")
    root = fill(tmp_path / "root", 1)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    assert sorted(values(image_folder(str(root), image_size=8, test_fraction=0.0).train)) == [0, 10]


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "root", 30)
    before = image_folder(str(root), image_size=8)
    walk = os.walk

    def backwards(*args: Any, **kwargs: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for place, folders, files in walk(*args, **kwargs):
            yield place, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    after = image_folder(str(root), image_size=8)
    assert torch.equal(before.train, after.train)
    assert torch.equal(before.test, after.test)


def test_the_split_is_seeded_and_loses_and_repeats_nothing(tmp_path: Path) -> None:
    root = str(fill(tmp_path, 40))
    first, again = (image_folder(root, image_size=8, test_fraction=0.25) for _ in range(2))
    other = image_folder(root, image_size=8, test_fraction=0.25, seed=1)
    assert (len(first.train), len(first.test)) == (30, 10)
    assert sorted(values(first.train) + values(first.test)) == list(range(0, 80, 2))
    assert values(first.test) == values(again.test)
    assert set(values(first.test)) != set(values(other.test))
    assert first.train_labels is None
    assert first.test_labels is None


@pytest.mark.parametrize(
    ("count", "fraction", "train"), [(1, 0.9, 1), (2, 0.99, 1), (3, 0.1, 3), (40, 0.0, 40), (40, 0.999, 1)]
)
def test_something_is_left_to_train_on(count: int, fraction: float, train: int, tmp_path: Path) -> None:
    dataset = image_folder(str(fill(tmp_path, count)), image_size=8, test_fraction=fraction)
    assert (len(dataset.train), len(dataset.test)) == (train, count - train)


def test_a_limit_decodes_a_seeded_subset_only(tmp_path: Path, decoded: list[str]) -> None:
    root = str(fill(tmp_path, 40))
    limited = image_folder(root, image_size=8, test_fraction=0.25, limit=4)
    assert len(decoded) == 8
    whole = image_folder(root, image_size=8, test_fraction=0.25)
    assert len(limited.train) == len(limited.test) == 4
    assert set(values(limited.train)) < set(values(whole.train))
    assert set(values(limited.test)) < set(values(whole.test))
    other = image_folder(root, image_size=8, test_fraction=0.25, limit=4, seed=1)
    assert set(values(other.train)) != set(values(limited.train))


def test_unreadable_files_are_named_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 12)
    (tmp_path / "sub").mkdir()
    whole = Image.effect_noise((64, 64), 50)
    whole.save(tmp_path / "sub" / "cut.png")
    whole.save(tmp_path / "sub" / "cut.jpg")
    for path in (tmp_path / "sub").iterdir():
        path.write_bytes(path.read_bytes()[:-500])
    (tmp_path / "empty.gif").touch()
    (tmp_path / "text.bmp").write_text("not an image")
    whole.save(tmp_path / "another_format.jpg", format="PPM")
    (tmp_path / "broken.webp").symlink_to(tmp_path / "nothing")
    Image.new("F", (20, 20), 0.5).save(tmp_path / "float.tif")
    with caplog.at_level(logging.WARNING):
        dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.5)
    assert sorted(values(torch.cat([dataset.train, dataset.test]))) == list(range(0, 24, 2))
    (record,) = caplog.records
    assert record.name == "wgan_cli.data.decode"
    message = record.getMessage()
    assert "7 of 19 images cannot be read" in message
    assert message.endswith("and 2 more")
    bad = ["sub/cut.png", "sub/cut.jpg", "empty.gif", "text.bmp", "another_format.jpg", "broken.webp", "float.tif"]
    assert sum(repr(name) in message for name in bad) == 5


def test_a_folder_where_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(
        SettingError, match=r"^dataset\.root=.*: 2 of 2 images cannot be read: .*'a\.png' \(not an image"
    ):
        image_folder(str(tmp_path))


@pytest.mark.parametrize("seed", range(6))
def test_a_training_part_that_cannot_be_read_is_replaced(seed: int, tmp_path: Path) -> None:
    save(tmp_path / "a.png", 10, "L")
    (tmp_path / "b.png").write_text("not an image")
    dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.5, seed=seed)
    assert values(dataset.train) == [10]
    assert len(dataset.test) == 0


@pytest.mark.parametrize(
    ("root", "message"),
    [("missing", "no such folder"), ("file.png", "not a folder"), ("empty", r"no images there; .*\.png, \.jpg, ")],
)
def test_a_root_without_images_is_refused(root: str, message: str, tmp_path: Path) -> None:
    save(tmp_path / "file.png")
    save(tmp_path / "empty" / ".hidden.png")
    with pytest.raises(SettingError, match=rf"^dataset\.root=.*{root}: {message}"):
        image_folder(str(tmp_path / root))


def test_a_second_run_decodes_nothing(tmp_path: Path, decoded: list[str], cache_folder: Path) -> None:
    root = str(fill(tmp_path, 10))
    first = image_folder(root, image_size=8)
    assert len(decoded) == 10
    assert sorted(path.suffix for path in cache_folder.iterdir()) == [".json", ".npy"]
    second = image_folder(root, image_size=8)
    assert len(decoded) == 10
    assert torch.equal(first.train, second.train)
    assert torch.equal(first.test, second.test)
    second.train.fill_(1)  # a private copy: what was cached stays
    assert torch.equal(first.train, image_folder(root, image_size=8).train)
    assert image_folder(root, image_size=8, test_fraction=0.5).test.shape[0] == 5
    assert len(decoded) == 10


@pytest.mark.parametrize(
    "change", ["content", "time", "added", "removed", "renamed", "image_size", "channels", "version"]
)
def test_a_change_decodes_again(
    change: str, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 10)
    settings: dict[str, Any] = {"image_size": 8, "channels": 3}
    image_folder(str(tmp_path), test_fraction=0.0, **settings)
    decoded.clear()
    path = tmp_path / "003.png"
    if change == "content":
        save(path, 255, "L", (30, 30))
    elif change == "time":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    elif change == "added":
        save(tmp_path / "new.png", 90, "L")
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(tmp_path / "new.png")
    elif change == "version":
        monkeypatch.setattr(decode, "CACHE_VERSION", -1)
    else:
        settings[change] = {"image_size": 9, "channels": 1}[change]
    dataset = image_folder(str(tmp_path), test_fraction=0.0, **settings)
    assert len(decoded) == len(dataset.train) == {"added": 11, "removed": 9}.get(change, 10)
    assert (255 in values(dataset.train)) == (change == "content")


def test_the_warning_repeats_when_the_images_are_cached(
    tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 5)
    (tmp_path / "bad.png").write_text("not an image")
    messages, parts = [], []
    for _ in range(2):
        caplog.clear()
        dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.4)
        messages.append(caplog.messages)
        parts.append((values(dataset.train), values(dataset.test)))
    assert len(decoded) == 6
    assert messages[0] == messages[1] != []
    assert parts[0] == parts[1]


def test_what_may_become_readable_is_not_remembered_as_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, forbidden = decode._decode, {"003.png"}

    def decoding(path: Path, channels: int, image_size: int) -> cache.Pixels:
        if path.name in forbidden:
            raise PermissionError(13, "Permission denied")
        return original(path, channels, image_size)

    monkeypatch.setattr(decode, "_decode", decoding)
    root = str(fill(tmp_path, 5))
    assert len(image_folder(root, image_size=8, test_fraction=0.0).train) == 4
    forbidden.clear()
    assert len(image_folder(root, image_size=8, test_fraction=0.0).train) == 5


def test_a_missing_file_does_not_keep_the_others_from_the_cache(tmp_path: Path, decoded: list[str]) -> None:
    fill(tmp_path / "root", 5)
    (tmp_path / "root" / "late.png").symlink_to(tmp_path / "late.png")
    for _ in range(2):
        assert len(image_folder(str(tmp_path / "root"), image_size=8, test_fraction=0.0).train) == 5
    assert len(decoded) == 6
    save(tmp_path / "late.png", 100, "L")
    assert 100 in values(image_folder(str(tmp_path / "root"), image_size=8, test_fraction=0.0).train)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def pickle(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.array([print], dtype=object), allow_pickle=True)


def reshape(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros((10, 3, 8, 7), np.uint8))


def retype(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros((10, 3, 8, 8), np.int8))


@pytest.mark.parametrize("damage", [truncate, empty, garble, Path.unlink, pickle, reshape, retype])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_cache_decodes_again_and_is_repaired(
    suffix: str, damage: Callable[[Path], None], tmp_path: Path, decoded: list[str], cache_folder: Path
) -> None:
    root = str(fill(tmp_path, 10))
    first = image_folder(root, image_size=8)
    damage(next(cache_folder.glob(f"*{suffix}")))
    for _ in range(2):
        assert torch.equal(image_folder(root, image_size=8).train, first.train)
    assert len(decoded) == 20


def test_without_a_folder_to_write_to_there_is_no_cache(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "root", 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert len(image_folder(str(root), image_size=8).train) == 3
    assert len(decoded) == 6


def test_a_full_disk_leaves_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert len(image_folder(str(fill(tmp_path, 3)), image_size=8).train) == 3
    assert list(cache_folder.glob("*.npy")) == list(cache_folder.glob(".*")) == []


def in_classes(root: Path, **values_of: list[int]) -> Path:
    """Write images of one value each into the folders that are named."""
    for name, values in values_of.items():
        for value in values:
            save(root / name / f"{value}.png", value, "L")
    return root


def labelled(images: torch.Tensor, labels: torch.Tensor | None) -> dict[int, int]:
    """Return the label of each value."""
    assert labels is not None
    return dict(zip(values(images), labels.tolist(), strict=True))


CATS, DOGS, EELS = list(range(0, 60, 5)), list(range(100, 130, 5)), list(range(200, 216, 5))
LABELS = {value: label for label, group in enumerate([CATS, DOGS, EELS]) for value in group}


def test_folders_below_the_root_are_classes_numbered_as_torchvision_numbers_them(tmp_path: Path) -> None:
    root = in_classes(tmp_path, eels=EELS, dogs=DOGS, cats=CATS)
    dataset = image_folder(str(root), image_size=8, channels=1, test_fraction=0.25)
    found = labelled(dataset.train, dataset.train_labels) | labelled(dataset.test, dataset.test_labels)
    theirs = {image.getpixel((0, 0))[0]: label for image, label in ImageFolder(root)}
    assert found == theirs == LABELS
    assert dataset.num_classes == 3


def test_the_first_folder_of_a_path_is_the_class(tmp_path: Path) -> None:
    in_classes(tmp_path, **{"b/x/y": [10], "b": [20], "a/x": [30], ".hidden": [40]})
    dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.0)
    assert labelled(dataset.train, dataset.train_labels) == {10: 1, 20: 1, 30: 0}
    assert dataset.test_labels is not None
    assert dataset.test_labels.shape == (0,)
    assert dataset.num_classes == 2


@pytest.mark.parametrize("names", [("a",), ("a", "."), ("a", "b", ".")])
def test_without_two_folders_or_with_images_beside_them_there_are_no_classes(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    in_classes(tmp_path, **{name: [10, 20] for name in names})
    dataset = image_folder(str(tmp_path), image_size=8)
    assert (dataset.train_labels, dataset.test_labels, dataset.num_classes) == (None, None, None)


def test_labels_stay_with_their_images_where_some_cannot_be_read(tmp_path: Path, decoded: list[str]) -> None:
    root = in_classes(tmp_path, cats=CATS, dogs=DOGS, eels=EELS)
    for i, folder in enumerate(["cats", "dogs", "eels", "cats", "dogs", "worms"]):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"bad{i}.png").write_text("not an image")
    for _ in range(2):  # the second time from the cache
        dataset = image_folder(str(root), image_size=8, test_fraction=0.4)
        found = labelled(dataset.train, dataset.train_labels) | labelled(dataset.test, dataset.test_labels)
        assert found == LABELS
        assert dataset.num_classes == 4  # a class is counted though none of its images can be read
    assert len(decoded) == 28


def test_a_limit_changes_neither_numbers_nor_the_number_of_classes(tmp_path: Path) -> None:
    root = str(in_classes(tmp_path, cats=CATS, dogs=DOGS, eels=EELS))
    dataset = image_folder(root, image_size=8, limit=2)
    assert len(dataset.train) == 2
    assert labelled(dataset.train, dataset.train_labels).items() <= LABELS.items()
    assert labelled(dataset.test, dataset.test_labels).items() <= LABELS.items()
    assert dataset.num_classes == 3


@pytest.mark.parametrize("seed", range(6))
def test_an_image_that_replaces_an_unreadable_training_part_keeps_its_label(seed: int, tmp_path: Path) -> None:
    in_classes(tmp_path, b=[10])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_text("not an image")
    dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.5, seed=seed)
    assert labelled(dataset.train, dataset.train_labels) == {10: 1}
    assert len(dataset.test) == 0


def test_a_pipe_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 3)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    assert len(image_folder(str(tmp_path), image_size=8, test_fraction=0.0).train) == 3
    (record,) = caplog.records
    assert "'pipe.png' (no regular file)" in record.getMessage()
    assert "'endless.png' (no regular file)" in record.getMessage()
