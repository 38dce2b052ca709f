"""Image files to read, and lists of the files in a folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from wgan_cli.data import Dataset

RED = (200, 40, 20)


def save(path: Path, color: int | tuple[int, ...] = RED, mode: str = "RGB", size: tuple[int, int] = (20, 24)) -> Path:
    """Write an image of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def fill(folder: Path, count: int) -> Path:
    """Write ``count`` grey images of one value each: i.png has the value 2 × i."""
    for i in range(count):
        save(folder / f"{i:03}.png", 2 * i, "L")
    return folder


def values(images: Tensor) -> list[int]:
    """Return the values of images of one value each."""
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def tree(folder: Path) -> list[str]:
    """List the contents of a folder at any depth."""
    return sorted(os.fspath(path.relative_to(folder)) for path in folder.rglob("*"))


def never(*_: Any, **__: Any) -> None:
    """Take the place of a function that must not be called."""
    pytest.fail("a download was tried")


def photographs(folder: Path, count: int) -> Path:
    """Write images of noise."""
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder


def require_consistent_limit(load: Callable[..., Dataset], root: Path) -> None:
    """Check that a limit keeps a seeded subset, in which images and labels stay together."""
    complete, limited, other = load(str(root)), load(str(root), limit=15), load(str(root), limit=15, seed=1)
    assert (len(limited.train), len(limited.test)) == (15, min(15, len(complete.test)))
    assert not limited.train.equal(other.train)
    assert complete.train_labels is not None
    assert limited.train_labels is not None
    labels = {image.numpy().tobytes(): int(k) for image, k in zip(complete.train, complete.train_labels, strict=True)}
    assert [labels[image.numpy().tobytes()] for image in limited.train] == limited.train_labels.tolist()
    assert load(str(root), limit=1).class_names == complete.class_names
