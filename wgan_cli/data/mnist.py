"""MNIST and the datasets that took over its file format: Fashion-MNIST and Kuzushiji-MNIST."""

import gzip
import logging
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, fit, subset
from wgan_cli.data.download import obtaining
from wgan_cli.parameters import SettingError, path_of
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLASSES = 10  # in each of them


def mnist(
    root: str = "data", image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load MNIST: 60,000 handwritten digits to train on and 10,000 to test on; downloaded where they are missing.

    Args:
        root: The folder that holds, or will hold, MNIST/raw.
        image_size: Pixels along a side.
        channels: 1, or 3 equal ones.
        limit: At most that many images in each part, a seeded subset.
        seed: Chooses the subset.

    Returns:
        Labelled images of the classes 0 to 9.

    Raises:
        SettingError: If the files are not under ``root`` and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import MNIST  # slow to import

    return _load(MNIST, root, image_size, channels, limit, seed)


def fashion_mnist(
    root: str = "data", image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load Fashion-MNIST: 60,000 pictures of clothes to train on and 10,000 to test on; downloaded where missing.

    Args:
        root: The folder that holds, or will hold, FashionMNIST/raw.
        image_size: Pixels along a side.
        channels: 1, or 3 equal ones.
        limit: At most that many images in each part, a seeded subset.
        seed: Chooses the subset.

    Returns:
        Labelled images of ten classes: T-shirt or top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag,
        ankle boot.

    Raises:
        SettingError: If the files are not under ``root`` and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import FashionMNIST  # slow to import

    return _load(FashionMNIST, root, image_size, channels, limit, seed)


def kmnist(
    root: str = "data", image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load Kuzushiji-MNIST: 60,000 handwritten Japanese letters to train on and 10,000 to test on.

    Downloaded where they are missing.

    Args:
        root: The folder that holds, or will hold, KMNIST/raw.
        image_size: Pixels along a side.
        channels: 1, or 3 equal ones.
        limit: At most that many images in each part, a seeded subset.
        seed: Chooses the subset.

    Returns:
        Labelled images of ten classes, one letter for each row of hiragana: o, ki, su, tsu, na, ha, ma, ya, re, wo.

    Raises:
        SettingError: If the files are not under ``root`` and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import KMNIST  # slow to import

    return _load(KMNIST, root, image_size, channels, limit, seed)


def _load(kind: Any, root: str, image_size: int, channels: int, limit: int | None, seed: int) -> Dataset:
    """Load one of torchvision's datasets in MNIST's format.

    Args:
        kind: Its class; the class's name is that of its folder, too.
        root: See :func:`mnist`, as for the rest.
        image_size: Pixels along a side.
        channels: 1 or 3.
        limit: At most that many images in each part.
        seed: Chooses them.
    """
    raw = path_of(root, "dataset.root") / kind.__name__ / "raw"
    if not all((raw / name).is_file() for name in FILES):
        _obtain(kind, root, raw)
    train, train_labels = _read(raw, "train", root)
    test, test_labels = _read(raw, "t10k", root)
    train_kept, test_kept = subset(len(train), limit, seed), subset(len(test), limit, seed)
    return Dataset(
        fit(train[train_kept], image_size, channels),
        fit(test[test_kept], image_size, channels),
        train_labels[train_kept],
        test_labels[test_kept],
        CLASSES,
    )


def _obtain(kind: Any, root: str, raw: Path) -> None:
    """Put the missing files into ``raw``, all or none: unpacked where their .gz lie there, else downloaded.

    Everything happens in a temporary folder beside, so that whatever goes wrong leaves nothing behind.

    Raises:
        SettingError: If they cannot be had.
    """
    missing = [name for name in FILES if not (raw / name).is_file()]
    advice = f"put {', '.join(FILES)} (or the same as .gz) into {raw} yourself"
    with obtaining(kind.__name__, raw, root, advice) as temporary:
        if all((raw / f"{name}.gz").is_file() for name in missing):
            source = temporary
            for name in missing:
                _unpack(raw / f"{name}.gz", source / name, root)
        else:
            logger.info("%s is not in %s: downloading it", kind.__name__, raw)
            source = temporary / kind.__name__ / "raw"
            kind(temporary, download=True)
        raw.mkdir(parents=True, exist_ok=True)
        for name in missing:
            (source / name).replace(raw / name)


def _unpack(packed: Path, target: Path, root: str) -> None:
    """Decompress a .gz file.

    Raises:
        SettingError: If it is damaged.
    """
    try:
        with gzip.open(packed) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SettingError("dataset.root", root, f"{packed} is damaged or truncated") from error


def _read(raw: Path, part: str, root: str) -> tuple[Tensor, Tensor]:
    """Read the images, uint8 (N, 1, 28, 28), and the labels, int64 (N,), of one part.

    Raises:
        SettingError: If a file is damaged.
    """
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images = _parsed(read_image_file, raw / f"{part}-images-idx3-ubyte", root)
    labels = _parsed(read_label_file, raw / f"{part}-labels-idx1-ubyte", root)
    if len(images) != len(labels) or not len(images) or images.shape[1:] != (28, 28) or labels.max() >= CLASSES:
        found = f"{len(images)} images of {images.shape[1]}×{images.shape[2]} and {len(labels)} labels"
        raise SettingError("dataset.root", root, f"the {part} files in {raw} do not fit together: {found}")
    return images.unsqueeze(1), labels


def _parsed(reader: Callable[[str], Tensor], path: Path, root: str) -> Tensor:
    """Return what torchvision reads from a file.

    Raises:
        SettingError: If it cannot be read.
    """
    try:
        return reader(str(path))
    except Exception as error:  # a damaged header makes torchvision's parser raise nearly anything
        reason = f"{path} is damaged, truncated or unreadable; delete it to have it downloaded again"
        raise SettingError("dataset.root", root, reason) from error
