"""Image files of any common format, size and colour mode, decoded to squares of one size on all cores, and cached."""

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
from wgan_cli.parameters import SettingError

logger = logging.getLogger(__name__)

# Pillow goes by the content. Other formats, hidden behind a common extension, would reach its less trodden parsers, and
# PostScript an interpreter.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
CACHE_VERSION = 1  # to be raised whenever the same files would be decoded to other pixels
QUEUE = 1024  # images handed to the threads at once: as many may still be decoded after Ctrl-C
NAMED = 5  # unreadable files that a message names


def load_images(
    folder: Path, paths: Sequence[str], image_size: int, channels: int, root: str
) -> tuple[cache.Pixels, npt.NDArray[np.bool_]]:
    """Load image files, scaled by the short side and cropped to the centre, and warn of those that cannot be read.

    Decoded once; after that they come from the user's cache folder until a file changes.

    Args:
        folder: Where they lie.
        paths: Relative to the folder, each one once.
        image_size: Pixels along a side.
        channels: 1 for luma, 3 for colour. What is transparent shows white.
        root: The setting that led to the folder, for messages.

    Returns:
        The images that can be read, uint8, (N, channels, image_size, image_size), in the order of ``paths``; and, for
        each of the paths, whether it is one of them, bool, (len(paths),).

    Raises:
        SettingError: If none can be read.
    """
    images, unreadable = _cached(folder, paths, image_size, channels)
    if unreadable:
        named = [f"{path!r} ({reason})" for path, reason in list(unreadable.items())[:NAMED]]
        more = f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        report = f"{len(unreadable)} of {len(paths)} images cannot be read: {', '.join(named)}{more}"
        if not len(images):
            raise SettingError("dataset.root", root, report)
        logger.warning("%s: %s", root, report)
    return images, np.array([path not in unreadable for path in paths])


def _cached(folder: Path, paths: Sequence[str], image_size: int, channels: int) -> tuple[cache.Pixels, dict[str, str]]:
    """Take the images from the cache, or decode and cache them.

    Returns:
        What can be read, uint8, (N, channels, image_size, image_size), in the order of ``paths``; and the paths
        of the others with the reasons.
    """
    shape = (len(paths), channels, image_size, image_size)
    key = _fingerprint(folder, paths, shape)
    cached = cache.load(key, shape)
    if cached is not None:
        return cached
    images = np.empty(shape, np.uint8)
    errors = _decode_all([folder / path for path in paths], images)
    unreadable = {path: _reason(error) for path, error in zip(paths, errors, strict=True) if error is not None}
    if unreadable:
        images = images[[error is None for error in errors]]
    if len(images) and not any(map(_may_pass, errors)):
        cache.store(key, images, unreadable)
    return images, unreadable


def _may_pass(error: Exception | None) -> bool:
    """Say whether the same file might be read at the next run: a permission given, a connection found again.

    A file that is missing is none of these, as the key changes when it appears.
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)


def _reason(error: Exception) -> str:
    """Say why a file is unreadable, without the path that many errors repeat."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _fingerprint(folder: Path, paths: Sequence[str], shape: tuple[int, ...]) -> str:
    """Return a key that changes whenever other pixels would be decoded."""
    digest = hashlib.sha256(repr((CACHE_VERSION, os.fspath(folder.resolve()), shape)).encode())
    for path in paths:
        try:
            status = (folder / path).stat()
            state = (path, status.st_size, status.st_mtime_ns)
        except OSError:  # missing; decoding it says so
            state = (path, -1, -1)
        digest.update(repr(state).encode())
    return digest.hexdigest()[:32]


def _decode_all(paths: Sequence[Path], images: cache.Pixels) -> list[Exception | None]:
    """Decode files into the rows of an array, on all cores.

    Returns:
        For each file the error that made it unreadable, or None.
    """

    def decode(row: int) -> Exception | None:
        try:
            images[row] = _decode(paths[row], channels=images.shape[1], image_size=images.shape[2])
        except Exception as error:  # Pillow's parsers raise nearly anything where a file is malformed
            return error
        return None

    errors: list[Exception | None] = []
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(paths), desc="decoding", unit="image", disable=None) as bar,
    ):
        warnings.simplefilter("ignore", UserWarning)  # oddities in metadata, which nobody asked for
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for start in range(0, len(paths), QUEUE):
            for error in pool.map(decode, range(start, min(start + QUEUE, len(paths)))):
                errors.append(error)
                bar.update()
    return errors


def _decode(path: Path, channels: int, image_size: int) -> cache.Pixels:
    """Decode one file.

    Returns:
        uint8, (channels, image_size, image_size).
    """
    if path.exists() and not path.is_file():
        raise ValueError("no regular file")  # opening a pipe would wait for whoever writes into it
    with Image.open(path, formats=FORMATS) as image:
        # Let the JPEG decoder halve large photographs, as long as twice the size that is wanted remains.
        image.draft(None, (2 * image_size, 2 * image_size))
        image.load()  # before turning it: Pillow turns a TIFF by itself as it loads
        ImageOps.exif_transpose(image, in_place=True)
        shown = _opaque(image).convert("L" if channels == 1 else "RGB")
    side = min(shown.size)
    left, top = (shown.width - side) // 2, (shown.height - side) // 2
    square = shown.resize(
        (image_size, image_size), Image.Resampling.BICUBIC, (left, top, left + side, top + side), reducing_gap=3
    )
    return np.asarray(square).reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _opaque(image: Image.Image) -> Image.Image:
    """Return an image with 8 bits a channel, and with white where it was transparent.

    Raises:
        ValueError: If nothing says which of its values is white.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip at 255
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
