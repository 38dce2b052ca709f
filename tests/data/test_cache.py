import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.data.files import fill, save, values
from wgan_cli.data import cache, decode
from wgan_cli.data.image_folder import image_folder


def load(root: Path, **settings: Any) -> Tensor:
    """Load all images of a folder."""
    return image_folder(str(root), **{"image_size": 8, "test_fraction": 0.0, **settings}).train


def test_a_second_run_decodes_nothing(tmp_path: Path, decoded: list[str], cache_folder: Path) -> None:
    first = load(fill(tmp_path, 10))
    assert len(decoded) == 10
    assert sorted(path.suffix for path in cache_folder.iterdir()) == [".json", ".npy"]
    second = load(tmp_path)
    assert torch.equal(first, second)
    second.fill_(1)  # a private copy: the cached images do not change
    assert torch.equal(first, load(tmp_path))
    assert image_folder(str(tmp_path), image_size=8, test_fraction=0.5).test.shape[0] == 5
    assert len(decoded) == 10


@pytest.mark.parametrize(
    "change", ["content", "time", "added", "removed", "renamed", "image_size", "channels", "version"]
)
def test_a_change_decodes_again(
    change: str, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(fill(tmp_path, 10))
    decoded.clear()
    path = tmp_path / "003.png"
    if change == "content":
        time = path.stat().st_mtime_ns
        os.utime(save(path, 255, "L", (30, 30)), ns=(time, time))
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
    images = load(tmp_path, **{key: value for key, value in {"image_size": 9, "channels": 1}.items() if key == change})
    assert len(decoded) == len(images) == {"added": 11, "removed": 9}.get(change, 10)
    assert (255 in values(images)) == (change == "content")


def test_a_file_that_may_become_readable_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, forbidden = decode._decode, {"003.png"}

    def decode_if_permitted(path: Path, channels: int, image_size: int) -> cache.Pixels:
        if path.name in forbidden:
            raise PermissionError(13, "Permission denied")
        return original(path, channels, image_size)

    monkeypatch.setattr(decode, "_decode", decode_if_permitted)
    assert len(load(fill(tmp_path, 5))) == 4
    forbidden.clear()
    assert len(load(tmp_path)) == 5


def test_the_other_images_are_cached_if_a_file_is_missing(tmp_path: Path, decoded: list[str]) -> None:
    root = fill(tmp_path / "root", 5)
    (root / "late.png").symlink_to(tmp_path / "late.png")
    for _ in range(2):
        assert len(load(root)) == 5
    assert len(decoded) == 6
    save(tmp_path / "late.png", 100, "L")
    assert 100 in values(load(root))


def write_array(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path.with_suffix(".npy"), array)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
        Path.unlink,
        write_array(np.zeros((10, 3, 8, 7), np.uint8)),
        write_array(np.zeros((10, 3, 8, 8), np.int8)),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_cache_is_repaired(
    suffix: str, damage: Callable[[Path], None], tmp_path: Path, decoded: list[str], cache_folder: Path
) -> None:
    first = load(fill(tmp_path, 10))
    damage(next(cache_folder.glob(f"*{suffix}")))
    for _ in range(2):
        assert torch.equal(load(tmp_path), first)
    assert len(decoded) == 20


def test_a_pickle_in_the_cache_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    first = load(fill(tmp_path, 10))
    next(cache_folder.glob("*.npy")).write_bytes(pickle.dumps(first.numpy()))
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a file was unpickled"))
    assert torch.equal(load(tmp_path), first)


def test_without_a_folder_to_write_to_nothing_is_cached(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "root", 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert len(load(root)) == 3
    assert len(decoded) == 6
