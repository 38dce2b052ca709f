"""Keeps decoded images between runs, as memory-mapped arrays in the user's cache folder."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wgan_cli.files import atomic_write

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


def load(key: str, shape: tuple[int, ...]) -> tuple[Pixels, dict[str, str]] | None:
    """Look up decoded images.

    Args:
        key: The key that they were stored under.
        shape: Of the array if every file was readable, (N, channels, size, size).

    Returns:
        The memory-mapped array (copy on write), and the unreadable files with the reasons; None if they are missing or
        damaged.
    """
    try:
        array, notes = _get_paths(key)
        unreadable = dict(json.loads(notes.read_text(encoding="utf-8")))
        images = np.load(array, mmap_mode="c", allow_pickle=False)
    except Exception:  # numpy's parser raises nearly anything for a damaged file
        return None
    fits = images.dtype == np.uint8 and images.shape == (shape[0] - len(unreadable), *shape[1:])
    return (images, unreadable) if fits else None


def store(key: str, images: Pixels, unreadable: dict[str, str]) -> None:
    """Keep decoded images for the next run, if the cache folder can be written."""
    try:
        array, notes = _get_paths(key)
        array.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(notes) as partial:
            partial.write_text(json.dumps(unreadable), encoding="utf-8")
        with atomic_write(array) as partial, partial.open("wb") as file:  # last, so that an array always has its notes
            np.save(file, images, allow_pickle=False)
    except (OSError, RuntimeError) as error:
        logger.info("the decoded images were not cached: %s", error)


def _get_paths(key: str) -> tuple[Path, Path]:
    """Return the paths of the array and of the notes for a key.

    Raises:
        RuntimeError: If the user has no home folder.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wgan-cli"
    return folder / f"images-{key}.npy", folder / f"images-{key}.json"
