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
    return image_folder(str(root), **{"image_size": 8, "test_fraction": 0.0, **settings}).train


def test_a_second_run_decodes_nothing(tmp_path: Path, decoded: list[str], cache_folder: Path) -> None:
    first = load(fill(tmp_path, 10)).clone()
    assert len(decoded) == 10
    assert sorted(path.suffix for path in cache_folder.iterdir()) == [".json", ".npy"]
    second = load(tmp_path)
    assert torch.equal(first, second)
    second.fill_(1)  # a private copy: the cached images do not change
    assert torch.equal(first, load(tmp_path))
    assert image_folder(str(tmp_path), image_size=8, test_fraction=0.5).test.shape[0] == 5
    assert len(decoded) == 10


def test_every_change_decodes_again(tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, new, newer = fill(tmp_path, 10) / "003.png", tmp_path / "new.png", tmp_path / "newer.png"
    load(tmp_path)
    time = path.stat().st_mtime_ns
    changes: list[tuple[Callable[[], object], dict[str, int], int, int]] = [
        (lambda: os.utime(save(path, 255, "L", (30, 30)), ns=(time, time)), {}, 10, 255),
        (lambda: os.utime(path, ns=(0, time + 1)), {}, 10, 255),
        (lambda: save(new, 90, "L"), {}, 11, 255),
        (lambda: path.rename(newer), {}, 11, 255),
        (newer.unlink, {}, 10, 90),
        (lambda: None, {"image_size": 9}, 10, 90),
        (lambda: None, {"channels": 1}, 10, 90),
        (lambda: monkeypatch.setattr(decode, "CACHE_VERSION", -1), {}, 10, 90),
    ]
    for change, settings, count, brightest in changes:
        decoded.clear()
        change()
        images = load(tmp_path, **settings)
        assert len(decoded) == len(images) == count
        assert max(values(images)) == brightest


def test_a_file_that_may_become_readable_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, forbidden = decode._decode, {"003.png"}

    def decode_if_permitted(path: Path, channels: int, image_size: int, white_point: int) -> cache.Pixels:
        if path.name in forbidden:
            raise PermissionError(13, "Permission denied")
        return original(path, channels, image_size, white_point)

    monkeypatch.setattr(decode, "_decode", decode_if_permitted)
    assert len(load(fill(tmp_path, 5))) == 4
    forbidden.clear()
    assert len(load(tmp_path)) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
        lambda path: path.write_bytes(pickle.dumps(np.zeros((10, 3, 8, 8), np.uint8))),
        lambda path: np.save(path.with_suffix(".npy"), np.zeros((10, 3, 8, 7), np.uint8)),
        lambda path: np.save(path.with_suffix(".npy"), np.zeros((10, 3, 8, 8), np.int8)),
        Path.unlink,
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_cache_is_repaired_and_a_pickle_is_not_read(
    suffix: str, damage: Any, tmp_path: Path, decoded: list[str], cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(fill(tmp_path, 10)).clone()
    damage(next(cache_folder.glob(f"*{suffix}")))
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a file was unpickled"))
    for _ in range(2):
        assert torch.equal(load(tmp_path), first)
    assert len(decoded) == 20


def test_a_cache_is_not_required(tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert len(load(fill(tmp_path / "root", 3))) == 3
    assert len(decoded) == 6
