"""A folder of images of any common format, size and colour mode."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit
from wgan_cli.data.decode import load_images
from wgan_cli.parameters import Range, SettingError, path_of
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


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

    Where every image lies in a folder below the root, and these folders are two or more, they are the classes:
    numbered from 0 in the sorted order of their names, as torchvision's ``ImageFolder`` numbers them.

    Args:
        root: The folder. Hidden files and folders in it are passed over.
        image_size: Pixels along a side.
        channels: 1 for luma, 3 for colour. What is transparent shows white.
        limit: At most that many images in each part, a seeded subset. The others are not decoded.
        test_fraction: The share of the images that becomes the test part; one image at least is left to train on.
        seed: Decides which.

    Returns:
        Images in a seeded random order, labelled where there are classes. ``num_classes`` counts those with an image
        file, even where a limit or a damaged file leaves none of their images.

    Raises:
        SettingError: If the folder does not exist or has no image that can be read.
    """
    folder = path_of(root, "dataset.root")
    if not folder.is_dir():
        raise SettingError("dataset.root", root, "not a folder" if folder.exists() else "no such folder")
    paths = sorted(_find(folder))
    if not paths:
        raise SettingError("dataset.root", root, f"no images there; those that count end in {', '.join(EXTENSIONS)}")
    train, test = _split(paths, test_fraction, limit, seed)

    images, readable = load_images(folder, [*train, *test], image_size, channels, root)
    # The array holds the training part first. Should none of it be readable, an image of the test part steps in.
    count = max(1, int(readable[: len(train)].sum()))
    array = torch.from_numpy(images)
    classes = _classes(paths)
    if classes is None:
        return Dataset(array[:count], array[count:])
    numbers = torch.tensor([classes[_top(path)] for path in (*train, *test)])
    labels = numbers[torch.from_numpy(readable)]
    return Dataset(array[:count], array[count:], labels[:count], labels[count:], len(classes))


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
        of_a_run = {"samples"} if ".hydra" in folders else set()  # which are no photographs
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in of_a_run)
        for name in files:
            if not name.startswith(".") and name.lower().endswith(EXTENSIONS):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _top(path: str) -> str:
    """Return the first part of a path: the folder below the root, or the file itself where it lies in the root."""
    return path.partition("/")[0]


def _classes(paths: Sequence[str]) -> dict[str, int] | None:
    """Number the folders below the root in the sorted order of their names; None where they are no classes."""
    names = sorted({_top(path) for path in paths})
    if len(names) < 2 or not all("/" in path for path in paths):
        return None
    return {name: number for number, name in enumerate(names)}


def _split(paths: Sequence[str], test_fraction: float, limit: int | None, seed: int) -> tuple[list[str], list[str]]:
    """Divide paths into the training and the test part, in a seeded random order, at most ``limit`` in each."""
    order = np.random.default_rng([seed, len(paths)]).permutation(len(paths))
    cut = max(1, len(paths) - round(len(paths) * test_fraction))
    return [paths[i] for i in order[:cut][:limit]], [paths[i] for i in order[cut:][:limit]]
