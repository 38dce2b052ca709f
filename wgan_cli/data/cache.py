"""Keeps decoded images between runs, as memory-mapped arrays in the user's cache folder."""

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wgan_cli.data.dataset import allocate_images
from wgan_cli.files import PARTIAL, atomic_write

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
HEADER = 128  # bytes that numpy writes before an array of these shapes
LARGE = 10**9  # bytes that are worth a message


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


@contextmanager
def allocate(key: str, shape: tuple[int, ...]) -> Iterator[Pixels]:
    """Yield an array to decode images into: on the disk, or in memory if the cache folder cannot be used.

    Inside the context, :func:`store` keeps what is on the disk. Otherwise its space is free again at the end of the
    program.

    Raises:
        InputError: If neither the disk nor the memory is large enough.
    """
    partial = None
    size = math.prod(shape)
    try:
        array, _ = _get_paths(key)
        array.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(array.parent).free) < size + HEADER:
            raise OSError(f"{array.parent} has {free / 1e9:,.1f} GB left")
        partial = array.with_name(f".{array.name}.{os.getpid()}{PARTIAL}")
        images: Pixels = np.memmap(partial, np.uint8, "w+", HEADER, shape)
        if size > LARGE:
            logger.info("decoding %s images into %.1f GB of %s", f"{shape[0]:,}", size / 1e9, array.parent)
    except (OSError, RuntimeError) as error:
        logger.info("the decoded images will not be cached: %s", error)
        images = allocate_images(shape).numpy()
    try:
        yield images
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def store(key: str, images: Pixels, count: int, unreadable: dict[str, str]) -> Pixels:
    """Keep decoded images for the next run, if they are on the disk.

    Args:
        key: What :func:`load` will look them up by.
        images: From :func:`allocate`.
        count: How many there are, from the first.
        unreadable: The unreadable files with the reasons.

    Returns:
        The images, which can be changed without changing the cache.
    """
    shape = (count, *images.shape[1:])
    if not isinstance(images, np.memmap) or images.filename is None:
        return images[:count]
    partial = Path(images.filename)
    try:
        images.flush()
        with partial.open("r+b") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.truncate(HEADER + math.prod(shape))
        array, notes = _get_paths(key)
        with atomic_write(notes) as temporary:
            temporary.write_text(json.dumps(unreadable), encoding="utf-8")
        partial.replace(array)  # last, so that an array always has its notes
        kept: Pixels = np.load(array, mmap_mode="c", allow_pickle=False)
        return kept
    except OSError as error:
        logger.info("the decoded images were not cached: %s", error)
        return images[:count]


def _get_paths(key: str) -> tuple[Path, Path]:
    """Return the paths of the array and of the notes for a key.

    Raises:
        RuntimeError: If the user has no home folder.
    """
    folder = find_folder()
    return folder / f"images-{key}.npy", folder / f"images-{key}.json"


def find_folder() -> Path:
    """Return the user's cache folder, which need not exist.

    Raises:
        RuntimeError: If the user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wgan-cli"
