"""Decodes image files of any common format, size and colour mode to squares of one size, and caches them."""

import errno
import hashlib
import io
import logging
import os
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

from wgan_cli.data import cache
from wgan_cli.errors import InputError
from wgan_cli.limits import can_start, count_cores

logger = logging.getLogger(__name__)

# Pillow identifies a format by its content. Without this list, a file with a common extension could reach Pillow's
# rarely used parsers, or a PostScript interpreter.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "PPM")
CACHE_VERSION = 2  # increase it whenever the same files would decode to other pixels
QUEUE = 1024  # images in the threads' queue, all of which are still decoded after Ctrl-C
NAMED = 5  # unreadable files that a message names
WHITE = 65535  # of 16 bits
DARK = 32  # an eighth of the range of 8 bits
# How an image is turned that its EXIF says is stored in another orientation.
ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The chunks of a PNG file that its pixels depend on.
PNG_SIGNATURE, PNG_CHUNKS = b"\x89PNG\r\n\x1a\n", (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")


def is_image(path: Path) -> bool:
    """Return whether the content of a file starts like an image."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # Pillow's parsers raise nearly anything for a malformed file
        return False


def load_images(
    folder: Path, paths: Sequence[str], image_size: int, channels: int, white_point: int = WHITE
) -> tuple[cache.Pixels, npt.NDArray[np.bool_]]:
    """Load image files, resized by the short side and cropped to the centre; warn about unreadable ones.

    They are decoded once, then read from the user's cache folder until a file changes.

    Args:
        folder: Contains the files.
        paths: Relative to the folder, without duplicates.
        image_size: Pixels along a side.
        channels: 1 for luma, 3 for colour. Transparent pixels become white.
        white_point: The value that is white in images of more than 8 bits a channel.

    Returns:
        The readable images, uint8, (N, channels, image_size, image_size), in the order of ``paths``; and for each path
        whether it is readable, bool, (len(paths),).

    Raises:
        InputError: If none is readable.
    """
    shape = (len(paths), channels, image_size, image_size)
    key = _compute_key(folder, paths, shape, white_point)
    images, unreadable = cache.load(key, shape) or _decode_all(folder, paths, shape, key, white_point)
    if unreadable:
        named = [f"{path!r} ({reason})" for path, reason in unreadable.items()]
        more = f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        report = f"{len(unreadable)} of {len(paths)} images cannot be read: {', '.join(named[:NAMED])}{more}"
        if not len(images):
            raise InputError(report)
        logger.warning("%s: %s", folder, report)
        if more:
            logger.debug("%s: all of them: %s", folder, ", ".join(named))
    if all(image.max() < DARK for image in images):  # usually the first one is bright
        logger.warning(
            "%s: all images are darker than an eighth of the range; if their files have 16 bits a channel, but less "
            "data, set dataset.white_point to the value that is white, such as 4095",
            folder,
        )
    return images, np.array([path not in unreadable for path in paths])


def _compute_key(folder: Path, paths: Sequence[str], shape: tuple[int, ...], white_point: int) -> str:
    """Return a key that changes whenever the decoded pixels could."""
    digest = hashlib.sha256(repr((CACHE_VERSION, os.fspath(folder.resolve()), shape, white_point)).encode())
    for path in paths:
        try:
            status = (folder / path).stat()
            state = (path, status.st_size, status.st_mtime_ns)
        except OSError:  # missing; decoding reports it
            state = (path, -1, -1)
        digest.update(repr(state).encode())
    return digest.hexdigest()[:32]


def _decode_all(
    folder: Path, paths: Sequence[str], shape: tuple[int, ...], key: str, white_point: int
) -> tuple[cache.Pixels, dict[str, str]]:
    """Decode files on all cores, and cache the images.

    Returns:
        The readable images, and the paths of the others with the reasons.
    """
    with cache.allocate(key, shape) as images:
        errors = _decode_into(images, folder, paths, white_point)
        readable = [row for row, path in enumerate(paths) if path not in errors]
        for target, row in enumerate(readable):
            if target != row:
                images[target] = images[row]
        unreadable = {path: _explain(errors[path]) for path in paths if path in errors}
        if not readable or any(map(_is_temporary, errors.values())):
            return images[: len(readable)], unreadable
        return cache.store(key, images, len(readable), unreadable), unreadable


def _decode_into(images: cache.Pixels, folder: Path, paths: Sequence[str], white_point: int) -> dict[str, Exception]:
    """Decode each file into a row of the array, on all cores; return the errors by path."""
    _, channels, image_size, _ = images.shape
    errors: dict[str, Exception] = {}

    def decode(row: int) -> None:
        try:
            images[row] = _decode(folder / paths[row], channels, image_size, white_point)
        except Exception as error:  # Pillow's parsers raise nearly anything for a malformed file
            errors[paths[row]] = error

    with (
        warnings.catch_warnings(),
        ExitStack() as stack,
        tqdm(total=len(paths), desc="decoding", unit="image", disable=None) as bar,
    ):
        warnings.simplefilter("ignore", UserWarning)  # about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        cores = count_cores()
        run = stack.enter_context(ThreadPoolExecutor(cores)).map if can_start(cores) else map
        for start in range(0, len(paths), QUEUE):
            for _ in run(decode, range(start, min(start + QUEUE, len(paths)))):
                bar.update()
    return errors


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


def _decode(path: Path, channels: int, image_size: int, white_point: int) -> cache.Pixels:
    """Decode one file.

    Returns:
        uint8, (channels, image_size, image_size).
    """
    try:
        shown = _read(path, channels, image_size, white_point)
    except ValueError:
        content = path.read_bytes()
        if not content.startswith(PNG_SIGNATURE):
            raise
        # Pillow refuses long texts and damaged colour profiles.
        shown = _read(io.BytesIO(_keep_pixels(content)), channels, image_size, white_point)
    side = min(shown.size)
    left, top = (shown.width - side) // 2, (shown.height - side) // 2
    square = shown.resize(
        (image_size, image_size), Image.Resampling.BICUBIC, (left, top, left + side, top + side), reducing_gap=3
    )
    return np.asarray(square).reshape(image_size, image_size, channels).transpose(2, 0, 1)


def _read(file: Path | io.BytesIO, channels: int, image_size: int, white_point: int) -> Image.Image:
    """Read an image that is at least as large as needed, opaque and upright."""
    with Image.open(file, formats=FORMATS) as image:
        # The JPEG decoder may halve large photographs, down to twice the size that is needed.
        image.draft(None, (2 * image_size, 2 * image_size))
        image.load()  # first, because Pillow turns a TIFF itself when it loads it
        turn = TURNS.get(_read_orientation(image))
        shown = _make_opaque(image, white_point).convert("L" if channels == 1 else "RGB")
    return shown if turn is None else shown.transpose(turn)


def _keep_pixels(content: bytes) -> bytes:
    """Remove the chunks of a PNG file that its pixels do not depend on."""
    kept, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while start + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        end = start + size + 12  # with the length, the name and the checksum
        if kind in PNG_CHUNKS:
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _read_orientation(image: Image.Image) -> int:
    """Return the orientation in an image's EXIF, from 1 to 8; 1 (upright) if it cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # Pillow's parser raises nearly anything for a damaged tag
        return 1


def _make_opaque(image: Image.Image, white_point: int) -> Image.Image:
    """Return an image with 8 bits a channel and with white in place of transparency.

    Raises:
        ValueError: If it is unknown which of its values is white.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip to 255
        values = np.asarray(image).astype(np.int32)
        if values.min() < 0 or values.max() > WHITE:
            raise ValueError("pixels of more than 16 bits have no known range")
        # The nearest of 255 steps, white beyond the white point.
        grey = ((values.astype(np.int64) * 510 + white_point) // (2 * white_point)).clip(max=255).astype(np.uint8)
        if "transparency" in image.info:
            grey[values == image.info["transparency"]] = 255
        return Image.fromarray(grey)
    if image.has_transparency_data:
        colored = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colored.size, "white"), colored)
    return image
