"""MNIST, and two datasets in its file format: Fashion-MNIST and Kuzushiji-MNIST."""

import gzip
import logging
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from torch import Tensor

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, choose_subset, resize_images
from wgan_cli.data.download import choose_place, fill_folder
from wgan_cli.errors import InputError
from wgan_cli.files import parse_path
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
LETTERS = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")  # one for each row of hiragana


def mnist(
    root: str = "data", image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load MNIST: 60,000 handwritten digits for training and 10,000 for testing, in the classes 0 to 9.

    Its files are in MNIST/raw under ``root``.
    """
    return _load("MNIST", DIGITS, root, image_size, channels, limit, seed)


def fashion_mnist(
    root: str = "data", image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load Fashion-MNIST, which has as many pictures of clothes. Its files are in FashionMNIST/raw under ``root``."""
    return _load("FashionMNIST", CLOTHES, root, image_size, channels, limit, seed)


def kmnist(
    root: str = "data", image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load Kuzushiji-MNIST, which has as many handwritten letters. Its files are in KMNIST/raw under ``root``."""
    return _load("KMNIST", LETTERS, root, image_size, channels, limit, seed)


def _load(
    kind: str, class_names: tuple[str, ...], root: str, image_size: int, channels: int, limit: int | None, seed: int
) -> Dataset:
    """Load one of torchvision's datasets in MNIST's format. ``kind`` names its class and its folder."""
    files = _find_files(parse_path(root) / kind / "raw", kind)
    train, train_labels = _read(files, "train")
    test, test_labels = _read(files, "t10k")
    train_kept, test_kept = choose_subset(len(train), limit, seed), choose_subset(len(test), limit, seed)
    return Dataset(
        resize_images(train[train_kept], image_size, channels),
        resize_images(test[test_kept], image_size, channels),
        train_labels[train_kept],
        test_labels[test_kept],
        class_names,
    )


def _find_files(raw: Path, kind: str) -> dict[str, Path]:
    """Find the four files by name, after those that are missing in ``raw`` have been obtained."""
    place = raw if all((raw / name).is_file() for name in FILES) else choose_place(raw)
    files = {name: raw / name if (raw / name).is_file() else place / name for name in FILES}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        _obtain(missing, kind, raw, place)
    return files


def _obtain(missing: Collection[str], kind: str, raw: Path, place: Path) -> None:
    """Put the missing files into a place: unpacked if all of their .gz files are in ``raw``, otherwise downloaded."""
    from torchvision import datasets  # slow to import

    advice = f"put {', '.join(FILES)} (or their .gz files) into {raw} yourself"
    with fill_folder(kind, place, missing, advice) as temporary:
        if all((raw / f"{name}.gz").is_file() for name in missing):
            for name in missing:
                _unpack(raw / f"{name}.gz", temporary / name)
        else:
            logger.info("%s is not in %s: downloading it", kind, raw)
            getattr(datasets, kind)(temporary, download=True)
            for name in missing:
                (temporary / kind / "raw" / name).rename(temporary / name)


def _unpack(packed: Path, target: Path) -> None:
    try:
        with gzip.open(packed) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{packed} is damaged or truncated") from error


def _read(files: Mapping[str, Path], part: str) -> tuple[Tensor, Tensor]:
    """Read the images, uint8 (N, 1, 28, 28), and the labels, int64 (N,), of one part."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images_file, labels_file = files[f"{part}-images-idx3-ubyte"], files[f"{part}-labels-idx1-ubyte"]
    images, labels = _parse(read_image_file, images_file), _parse(read_label_file, labels_file)
    if len(images) != len(labels) or not len(images) or images.shape[1:] != (28, 28) or labels.max() >= len(DIGITS):
        found = f"{len(images)} images of {images.shape[1]}×{images.shape[2]} and {len(labels)} labels"
        raise InputError(f"{images_file} and {labels_file.name} do not fit together: {found}")
    return images.unsqueeze(1), labels


def _parse(reader: Callable[[str], Tensor], path: Path) -> Tensor:
    try:
        return reader(str(path))
    except Exception as error:  # torchvision's parser raises nearly anything for a damaged header
        raise InputError(f"{path} is damaged or unreadable; delete it to have it downloaded again") from error
