"""Decoded images kept between runs: a memory-mapped array in the user's cache folder, and what could not be read."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wgan_cli.files import whole

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


def load(key: str, shape: tuple[int, ...]) -> tuple[Pixels, dict[str, str]] | None:
    """Look decoded images up.

    Args:
        key: What they were stored under.
        shape: That of the array if no file was unreadable, (N, channels, size, size).

    Returns:
        The memory-mapped array, whose pages are copied when they are written to, and the unreadable files with
        the reasons; None if they are not there or damaged.
    """
    try:
        array, notes = _paths(key)
        unreadable = json.loads(notes.read_text(encoding="utf-8"))
        images = np.load(array, mmap_mode="c", allow_pickle=False)
        if images.dtype == np.uint8 and images.shape == (shape[0] - len(unreadable), *shape[1:]):
            return images, dict(unreadable)
        logger.debug("the cached images in %s are not those expected", array)
    except FileNotFoundError:
        pass
    except Exception as error:  # numpy's parser raises nearly anything where a file is damaged
        logger.debug("no cached images: %s", error)
    return None


def store(key: str, images: Pixels, unreadable: dict[str, str]) -> None:
    """Keep decoded images for the next run; where that is impossible, do without."""
    try:
        array, notes = _paths(key)
        array.parent.mkdir(parents=True, exist_ok=True)
        with whole(notes) as partial:
            partial.write_text(json.dumps(unreadable), encoding="utf-8")
        with whole(array) as partial, partial.open("wb") as file:  # last: the notes are there whenever the array is
            np.save(file, images, allow_pickle=False)
    except (OSError, RuntimeError) as error:
        logger.info("the decoded images were not cached: %s", error)


def _paths(key: str) -> tuple[Path, Path]:
    """Return where the array and the notes of a key lie.

    Raises:
        RuntimeError: If the user has no home folder.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wgan-cli"
    return folder / f"images-{key}.npy", folder / f"images-{key}.json"
