"""A folder of images of any common format, size and colour mode."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit
from wgan_cli.data.decode import WHITE, is_image, load_images
from wgan_cli.errors import InputError
from wgan_cli.files import parse_path
from wgan_cli.parameters import Range
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

JPEG, PORTABLE = (".jpg", ".jpeg", ".jpe", ".jfif"), (".ppm", ".pgm", ".pbm", ".pnm")
TRAIN_PART, TEST_PARTS = "train", ("test", "val", "valid", "validation")  # the names of the parts in other data sets
EXTENSIONS = (".png", *JPEG, ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", *PORTABLE)


def image_folder(
    root: str,
    image_size: ImageSize = 64,
    channels: Channels = 3,
    limit: Limit = None,
    test_fraction: Annotated[float, Range(0, below=1)] = 0.1,
    white_point: Annotated[int, Range(1, WHITE)] = WHITE,
    seed: Seed = 0,
) -> Dataset:
    """Load every image in a folder and its sub-folders, in a seeded random order.

    If every image is in one of two or more sub-folders, these are the classes. They are numbered from 0 in the sorted
    order of their names, as in torchvision's ``ImageFolder``. A limit or unreadable images do not change the numbers.

    Sub-folders called train and test (or val) are not classes but the two parts, and may contain the classes.

    Args:
        root: The folder. Hidden files and folders are skipped.
        image_size: Pixels along a side. See :func:`~wgan_cli.data.decode.load_images` for the decoding.
        channels: 1 or 3.
        limit: At most this many images in each part, a seeded subset.
        test_fraction: The share of the images that becomes the test part, unless the folder has one; at least one image
            is left for training.
        white_point: The value that is white in images of more than 8 bits a channel.
        seed: Chooses the parts, the subset and the order.

    Raises:
        InputError: If the folder does not exist or contains no readable image.
    """
    folder = parse_path(root)
    if not folder.is_dir():
        raise InputError("is not a folder" if folder.exists() else "no such folder")
    paths = sorted(_find(folder))
    if not paths:
        raise InputError(f"contains no images; their names must end in {', '.join(EXTENSIONS)}")
    parts = _find_parts(paths)
    if parts is None:
        shuffled = _shuffle(paths, seed)
        cut = max(1, len(paths) - round(len(paths) * test_fraction))
        train, test = shuffled[:cut], shuffled[cut:]
    else:
        train, test = (_shuffle([path for path in paths if path.startswith(f"{part}/")], seed) for part in parts)
        left_out = len(paths) - len(train) - len(test)
        rest = f"; the other {left_out:,} images are left out" if left_out else ""
        logger.info("%s: %s/ is the training part, and %s/ is the test part%s", folder, *parts, rest)
    class_of, why_no_classes = _find_classes(train + test, depth=0 if parts is None else 1)
    train, test = train[:limit], test[:limit]

    images, readable = load_images(folder, [*train, *test], image_size, channels, white_point)
    # The training part comes first in the array. If none of it is readable, an image of the test part replaces it.
    count = max(1, int(readable[: len(train)].sum()))
    array = torch.from_numpy(images)
    if why_no_classes:
        return Dataset(array[:count], array[count:], why_no_classes=why_no_classes)
    class_names = sorted(set(class_of.values()))
    numbers = torch.tensor([class_names.index(class_of[path]) for path in (*train, *test)])
    labels = numbers[torch.from_numpy(readable)]
    return Dataset(array[:count], array[count:], labels[:count], labels[count:], class_names)


def _find(folder: Path) -> Iterator[str]:
    """Find image files, at any depth: by their extension, or by their content if they have none.

    Yields:
        Paths relative to the folder, with / between their parts.
    """
    seen = set()
    left_out: Counter[str] = Counter()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=lambda error: logger.warning("%s", error)):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder that was searched already
            folders.clear()
            continue
        seen.add(real)
        is_run = "checkpoints" in folders and "config.yaml" in files  # its samples are generated
        folders[:] = sorted(name for name in folders if not (name.startswith(".") or (is_run and name == "samples")))
        for path in (Path(place) / name for name in files if not name.startswith(".")):
            extension = path.suffix.lower()
            if extension in EXTENSIONS or (not extension and is_image(path)):
                yield path.relative_to(folder).as_posix()
            else:
                left_out[extension or "without an extension"] += 1
    if left_out:
        kinds = ", ".join(f"{count:,} {extension}" for extension, count in left_out.most_common(5))
        logger.info("%s: %d files are not images and were left out: %s", folder, left_out.total(), kinds)


def _shuffle(paths: Sequence[str], seed: int) -> list[str]:
    return [paths[i] for i in np.random.default_rng([seed, len(paths)]).permutation(len(paths))]


def _find_parts(paths: Sequence[str]) -> tuple[str, str] | None:
    """Return the sub-folders of the root that are the training part and the test part; None if it has none."""
    names = {path.partition("/")[0] for path in paths}
    tests = [name for name in TEST_PARTS if name in names]
    return (TRAIN_PART, tests[0]) if tests and TRAIN_PART in names and names <= {TRAIN_PART, *TEST_PARTS} else None


def _find_classes(paths: Sequence[str], depth: int) -> tuple[dict[str, str], str]:
    """Map each path to the name of its class, the folder at this depth.

    Returns:
        The names, and the reason why they are not classes, or "".
    """
    folders = {path: path.split("/")[depth:-1] for path in paths}
    outside = next((path for path, inside in folders.items() if not inside), None)
    class_of = {path: inside[0] for path, inside in folders.items() if inside}
    if not class_of:
        return {}, "classes are sub-folders, and it has none"
    if outside is not None:
        return {}, f"classes are sub-folders, and {outside!r} is not in one"
    only, *others = set(class_of.values())
    return class_of, "" if others else f"all images are in one sub-folder, {only!r}"
