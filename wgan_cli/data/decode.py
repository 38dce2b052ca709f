"""Decodes image files of any common format, size and colour mode to squares of one size, and caches them."""

import errno
import hashlib
import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from wgan_cli.data import cache
from wgan_cli.errors import InputError

logger = logging.getLogger(__name__)

# Pillow identifies a format by its content. Without this list, a file with a common extension could reach Pillow's
# rarely used parsers, or a PostScript interpreter.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
CACHE_VERSION = 1  # increase it whenever the same files would decode to other pixels
QUEUE = 1024  # images in the threads' queue, all of which are still decoded after Ctrl-C
NAMED = 5  # unreadable files that a message names


def load_images(
    folder: Path, paths: Sequence[str], image_size: int, channels: int
) -> tuple[cache.Pixels, npt.NDArray[np.bool_]]:
    """Load image files, resized by the short side and cropped to the centre; warn about unreadable ones.

    They are decoded once, then read from the user's cache folder until a file changes.

    Args:
        folder: Contains the files.
        paths: Relative to the folder, without duplicates.
        image_size: Pixels along a side.
        channels: 1 for luma, 3 for colour. Transparent pixels become white.

    Returns:
        The readable images, uint8, (N, channels, image_size, image_size), in the order of ``paths``; and for each path
        whether it is readable, bool, (len(paths),).

    Raises:
        InputError: If none is readable.
    """
    shape = (len(paths), channels, image_size, image_size)
    key = _compute_key(folder, paths, shape)
    images, unreadable = cache.load(key, shape) or _decode_all(folder, paths, shape, key)
    if unreadable:
        named = [f"{path!r} ({reason})" for path, reason in list(unreadable.items())[:NAMED]]
        more = f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        report = f"{len(unreadable)} of {len(paths)} images cannot be read: {', '.join(named)}{more}"
        if not len(images):
            raise InputError(report)
        logger.warning("%s: %s", folder, report)
    return images, np.array([path not in unreadable for path in paths])


def _compute_key(folder: Path, paths: Sequence[str], shape: tuple[int, ...]) -> str:
    """Return a key that changes whenever the decoded pixels could."""
    digest = hashlib.sha256(repr((CACHE_VERSION, os.fspath(folder.resolve()), shape)).encode())
    for path in paths:
        try:
            status = (folder / path).stat()
            state = (path, status.st_size, status.st_mtime_ns)
        except OSError:  # missing; decoding reports it
            state = (path, -1, -1)
        digest.update(repr(state).encode())
    return digest.hexdigest()[:32]


def _decode_all(
    folder: Path, paths: Sequence[str], shape: tuple[int, ...], key: str
) -> tuple[cache.Pixels, dict[str, str]]:
    """Decode files on all cores, and cache the images.

    Returns:
        The readable images, and the paths of the others with the reasons.
    """
    images = np.empty(shape, np.uint8)
    errors: dict[str, Exception] = {}

    def decode(row: int) -> None:
        try:
            images[row] = _decode(folder / paths[row], channels=shape[1], image_size=shape[2])
        except Exception as error:  # Pillow's parsers raise nearly anything for a malformed file
            errors[paths[row]] = error

    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(paths), desc="decoding", unit="image", disable=None) as bar,
    ):
        warnings.simplefilter("ignore", UserWarning)  # about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for start in range(0, len(paths), QUEUE):
            for _ in pool.map(decode, range(start, min(start + QUEUE, len(paths)))):
                bar.update()
    if errors:
        images = images[[path not in errors for path in paths]]
    unreadable = {path: _explain(errors[path]) for path in paths if path in errors}
    if len(images) and not any(map(_is_temporary, errors.values())):
        cache.store(key, images, unreadable)
    return images, unreadable


def _is_temporary(error: Exception) -> bool:
    """Return whether the next run may be able to read the same file, for example after a permission is given.

    A missing file does not count, because the key changes when it appears.
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)


def _explain(error: Exception) -> str:
    """Say why a file is unreadable, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _decode(path: Path, channels: int, image_size: int) -> cache.Pixels:
    """Decode one file.

    Returns:
        uint8, (channels, image_size, image_size).
    """
    with Image.open(path, formats=FORMATS) as image:
        # The JPEG decoder may halve large photographs, down to twice the size that is needed.
        image.draft(None, (2 * image_size, 2 * image_size))
        image.load()  # first, because Pillow rotates a TIFF itself when it loads it
        ImageOps.exif_transpose(image, in_place=True)
        shown = _make_opaque(image).convert("L" if channels == 1 else "RGB")
    side = min(shown.size)
    left, top = (shown.width - side) // 2, (shown.height - side) // 2
    square = shown.resize(
        (image_size, image_size), Image.Resampling.BICUBIC, (left, top, left + side, top + side), reducing_gap=3
    )
    return np.asarray(square).reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _make_opaque(image: Image.Image) -> Image.Image:
    """Return an image with 8 bits a channel and with white in place of transparency.

    Raises:
        ValueError: If it is unknown which of its values is white.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip to 255
        values = np.asarray(image).astype(np.int32)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("pixels of more than 16 bits have no known range")
        grey = ((values + 128) // 257).astype(np.uint8)
        if "transparency" in image.info:
            grey[values == image.info["transparency"]] = 255
        return Image.fromarray(grey)
    if image.has_transparency_data:
        colored = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colored.size, "white"), colored)
    return image
