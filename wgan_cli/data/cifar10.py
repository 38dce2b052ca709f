"""CIFAR-10, from pickles that are read only where they are, to the byte, the published ones."""

import logging
import shutil
import tarfile
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, fit, subset
from wgan_cli.data.download import obtaining
from wgan_cli.parameters import SettingError, path_of
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)


def cifar10(
    root: str = "data", image_size: ImageSize = 32, channels: Channels = 3, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load CIFAR-10: 50,000 small photographs to train on and 10,000 to test on; downloaded where they are missing.

    The files are pickles, and a pickle can execute anything. So none is read before the published MD5 of each was
    found right, here and again in torchvision's constructor; no other file can be made that has it.

    Args:
        root: The folder that holds, or will hold, cifar-10-batches-py, or that holds cifar-10-python.tar.gz.
        image_size: Pixels along a side.
        channels: 3, or 1 for luma.
        limit: At most that many images in each part, a seeded subset.
        seed: Chooses the subset.

    Returns:
        Labelled images of ten classes: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Raises:
        SettingError: If the files are not under ``root`` and cannot be downloaded, or are not the published ones.
    """
    from torchvision.datasets import CIFAR10  # slow to import

    folder = path_of(root, "dataset.root") / CIFAR10.base_folder
    published = {**dict(CIFAR10.train_list), **dict(CIFAR10.test_list), CIFAR10.meta["filename"]: CIFAR10.meta["md5"]}
    missing = [name for name in published if not (folder / name).is_file()]
    if missing:
        _obtain(missing, folder, root)
    for name, md5 in published.items():
        _verify(folder / name, md5, root)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"dtype\(\): align")  # NumPy 2.4.0 to 2.4.4, of pickles as old as these
        train, train_labels = _part(CIFAR10(folder.parent, train=True), limit, seed)
        test, test_labels = _part(CIFAR10(folder.parent, train=False), limit, seed)
    return Dataset(
        fit(train, image_size, channels), fit(test, image_size, channels), train_labels, test_labels, num_classes=10
    )


def _part(source: Any, limit: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """Return the images, uint8 (N, 3, 32, 32), and the labels, int64 (N,), of one of torchvision's datasets."""
    kept = subset(len(source), limit, seed)
    images = torch.from_numpy(source.data)[kept].permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(source.targets)[kept]


def _obtain(missing: Collection[str], folder: Path, root: str) -> None:
    """Put the missing files into the folder: from the archive where it lies beside, else from a download of it.

    Raises:
        SettingError: If they cannot be had.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    archive = folder.parent / CIFAR10.filename
    advice = f"put {archive.name} from {CIFAR10.url} into {folder.parent} yourself"
    with obtaining("CIFAR-10", folder, root, advice) as temporary:
        if archive.is_file():
            _verify(archive, CIFAR10.tgz_md5, root)
        else:
            logger.info("CIFAR-10 is not in %s: downloading it", folder)
            archive = temporary / archive.name
            download_url(CIFAR10.url, temporary, archive.name, CIFAR10.tgz_md5)
        _unpack(archive, folder.name, missing, temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            (temporary / name).replace(folder / name)


def _unpack(archive: Path, inside: str, names: Collection[str], target: Path) -> None:
    """Copy files of these names, which lie in one folder of the archive, into the target, and nothing else."""
    with tarfile.open(archive, "r|gz") as packed:
        for member in packed:
            place, _, name = member.name.rpartition("/")
            source = packed.extractfile(member) if place == inside and name in names else None
            if source is not None:
                with source, (target / name).open("wb") as file:
                    shutil.copyfileobj(source, file)


def _verify(path: Path, md5: str, root: str) -> None:
    """Refuse a file that is not the published one.

    Raises:
        SettingError: If its MD5 is another, or it cannot be read.
    """
    from torchvision.datasets.utils import calculate_md5

    try:
        right = calculate_md5(path) == md5
    except OSError as error:
        raise SettingError("dataset.root", root, f"{path} cannot be read ({error.strerror})") from error
    if not right:
        reason = f"{path} is damaged, truncated or not the published file; delete it to have it downloaded again"
        raise SettingError("dataset.root", root, reason)
