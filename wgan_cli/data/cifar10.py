"""CIFAR-10: small photographs in ten classes."""

import logging
import shutil
import tarfile
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, choose_subset, resize_images
from wgan_cli.data.download import choose_place, fill_folder
from wgan_cli.errors import InputError
from wgan_cli.files import parse_path
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(
    root: str = "data", image_size: ImageSize = 32, channels: Channels = 3, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load CIFAR-10: 50,000 small photographs for training and 10,000 for testing.

    Its files are in cifar-10-batches-py under ``root``, or in cifar-10-python.tar.gz, which is then unpacked. They are
    pickles, and a pickle can execute anything. None is read before its MD5 has been compared with the published one,
    here and again in torchvision's constructor.

    The classes are those in :data:`CLASSES`.
    """
    from torchvision.datasets import CIFAR10  # slow to import

    parent = parse_path(root)
    folder = parent / CIFAR10.base_folder
    published = {**dict(CIFAR10.train_list), **dict(CIFAR10.test_list), CIFAR10.meta["filename"]: CIFAR10.meta["md5"]}
    if not all((folder / name).is_file() for name in published):
        folder = choose_place(folder)
    if missing := [name for name in published if not (folder / name).is_file()]:
        _obtain(missing, folder, parent / CIFAR10.filename)
    for name, md5 in published.items():
        _verify(folder / name, md5)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"dtype\(\): align")  # from NumPy 2.4.0 to 2.4.4, for pickles this old
        train, train_labels = _select(CIFAR10(folder.parent, train=True), limit, seed)
        test, test_labels = _select(CIFAR10(folder.parent, train=False), limit, seed)
    train, test = resize_images(train, image_size, channels), resize_images(test, image_size, channels)
    return Dataset(train, test, train_labels, test_labels, CLASSES)


def _select(source: Any, limit: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """Return the images, uint8 (N, 3, 32, 32), and the labels, int64 (N,), of one of torchvision's datasets."""
    kept = choose_subset(len(source), limit, seed)
    images = torch.from_numpy(source.data)[kept].permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(source.targets)[kept]


def _obtain(missing: Collection[str], folder: Path, archive: Path) -> None:
    """Put the missing files into the folder, from the archive or from a download."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    advice = f"put {archive.name} from {CIFAR10.url} into {archive.parent} yourself"
    with fill_folder("CIFAR-10", folder, missing, advice) as temporary:
        if archive.is_file():
            _verify(archive, CIFAR10.tgz_md5)
        else:
            logger.info("CIFAR-10 is not in %s: downloading it", folder)
            archive = temporary / archive.name
            download_url(CIFAR10.url, temporary, archive.name, CIFAR10.tgz_md5)
        _unpack(archive, folder.name, missing, temporary)


def _unpack(archive: Path, inside: str, names: Collection[str], target: Path) -> None:
    """Copy only the files with these names, from one folder of the archive, into the target."""
    with tarfile.open(archive, "r|gz") as packed:
        for member in packed:
            place, _, name = member.name.rpartition("/")
            source = packed.extractfile(member) if place == inside and name in names else None
            if source is not None:
                with source, (target / name).open("wb") as file:
                    shutil.copyfileobj(source, file)


def _verify(path: Path, md5: str) -> None:
    """Reject a file that is not the published one."""
    from torchvision.datasets.utils import calculate_md5

    try:
        matches = calculate_md5(path) == md5
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if not matches:
        raise InputError(f"{path} is damaged or not the published file; delete it to have it downloaded again")
