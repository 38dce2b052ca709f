"""Files to read, and what is left of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RED = (200, 40, 20)


def save(path: Path, color: int | tuple[int, ...] = RED, mode: str = "RGB", size: tuple[int, int] = (20, 24)) -> Path:
    """Write an image of one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def tree(folder: Path) -> list[str]:
    """What a folder holds, at any depth."""
    return sorted(os.fspath(path.relative_to(folder)) for path in folder.rglob("*"))


def never(*_: Any, **__: Any) -> None:
    """In place of what must not be called."""
    pytest.fail("a download was tried")


def photographs(folder: Path, count: int) -> Path:
    """A folder of noise."""
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder
