"""A folder of images of any common format, size and colour mode."""

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from wgan_cli.data import cache
from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit
from wgan_cli.parameters import Range, SettingError
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Pillow goes by the content. Other formats, hidden behind such a name, would reach its less trodden parsers, and
# PostScript an interpreter.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
CACHE_VERSION = 1  # to be raised whenever the same files would be decoded to other pixels
QUEUE = 1024  # images handed to the threads at once: as many may still be decoded after Ctrl-C
NAMED = 5  # unreadable files that a message names


def image_folder(
    root: str,
    image_size: ImageSize = 64,
    channels: Channels = 3,
    limit: Limit = None,
    test_fraction: Annotated[float, Range(0, below=1)] = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Load every image in a folder and the folders in it, scaled by the short side and cropped to its centre.

    Decoded once; after that the images come from the user's cache folder until a file changes.

    Args:
        root: The folder. Hidden files and folders in it are passed over.
        image_size: Pixels along a side.
        channels: 1 for luma, 3 for colour. What is transparent shows white.
        limit: At most that many images in each part, a seeded subset. The others are not decoded.
        test_fraction: The share of the images that becomes the test part; one image at least is left to train on.
        seed: Decides which.

    Returns:
        Unlabelled images in a seeded random order.

    Raises:
        SettingError: If the folder does not exist or has no image that can be read.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise SettingError("dataset.root", root, "not a folder" if folder.exists() else "no such folder")
    paths = sorted(_find(folder))
    if not paths:
        raise SettingError("dataset.root", root, f"no images there; those that count end in {', '.join(EXTENSIONS)}")
    train, test = _split(paths, test_fraction, limit, seed)

    images, unreadable = _load(folder, [*train, *test], image_size, channels)
    if unreadable:
        named = [f"{path!r} ({reason})" for path, reason in list(unreadable.items())[:NAMED]]
        more = f" and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        report = f"{len(unreadable)} of {len(train) + len(test)} images cannot be read: {', '.join(named)}{more}"
        if not len(images):
            raise SettingError("dataset.root", root, report)
        logger.warning("%s: %s", root, report)
    # The array holds the training part first. Should none of it be readable, an image of the test part steps in.
    count = max(1, sum(path not in unreadable for path in train))
    array = torch.from_numpy(images)
    return Dataset(array[:count], array[count:])


def _find(folder: Path) -> Iterator[str]:
    """Find the image files in a folder, at any depth.

    Yields:
        Paths relative to the folder, with / between their parts.
    """
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=lambda error: logger.warning("%s", error)):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder that was searched already, maybe an endless one
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _split(paths: Sequence[str], test_fraction: float, limit: int | None, seed: int) -> tuple[list[str], list[str]]:
    """Divide paths into the training and the test part, in a seeded random order, at most ``limit`` in each."""
    order = np.random.default_rng([seed, len(paths)]).permutation(len(paths))
    cut = max(1, len(paths) - round(len(paths) * test_fraction))
    return [paths[i] for i in order[:cut][:limit]], [paths[i] for i in order[cut:][:limit]]


def _load(folder: Path, paths: Sequence[str], image_size: int, channels: int) -> tuple[cache.Images, dict[str, str]]:
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
    # An error of the operating system (a permission, a lost connection) may be gone at the next run.
    if len(images) and not any(isinstance(error, OSError) and error.errno is not None for error in errors):
        cache.store(key, images, unreadable)
    return images, unreadable


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
        except OSError:  # a broken link; decoding it says so
            continue
        digest.update(repr((path, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:32]


def _decode_all(paths: Sequence[Path], images: cache.Images) -> list[Exception | None]:
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


def _decode(path: Path, channels: int, image_size: int) -> cache.Images:
    """Decode one file.

    Returns:
        uint8, (channels, image_size, image_size).
    """
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
