"""CelebA: photographs of faces, aligned by the eyes."""

import importlib.util
import logging
import re
import shutil
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import torch
from tqdm import tqdm

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, subset
from wgan_cli.data.decode import load_images
from wgan_cli.data.download import obtaining
from wgan_cli.parameters import SettingError, path_of
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

IMAGES = "img_align_celeba"
ARCHIVE = "img_align_celeba.zip"
PARTITION = "list_eval_partition.txt"
TRAIN, VALID, TEST = 0, 1, 2  # as the partition file numbers them
# A line of the partition file. A name that could lead out of the folder is none.
LINE = re.compile(rf"(\w[\w.-]*)\s+([{TRAIN}{VALID}{TEST}])\s*", re.ASCII)


def celeba(
    root: str = "data", image_size: ImageSize = 64, channels: Channels = 3, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load CelebA: 162,770 faces to train on and 19,962 to test on, scaled by the short side and cropped to the centre.

    The validation part is left out. Decoded once; after that the images come from the user's cache folder until a
    file changes. Where files are missing they are downloaded from Google Drive, for which gdown must be installed.

    Args:
        root: The folder that holds, or will hold, celeba, with list_eval_partition.txt and either img_align_celeba or
            img_align_celeba.zip in it.
        image_size: Pixels along a side.
        channels: 3, or 1 for luma.
        limit: At most that many images in each part, a seeded subset. The others are not decoded.
        seed: Chooses the subset.

    Returns:
        Unlabelled images, in the order of the partition file.

    Raises:
        SettingError: If the files are not under ``root`` and cannot be downloaded, or are damaged.
    """
    folder = path_of(root, "dataset.root") / "celeba"
    if not ((folder / PARTITION).is_file() and (folder / IMAGES).is_dir()):
        _obtain(folder, root)
    partition = _read_partition(folder / PARTITION, root)
    train, test = (_chosen(partition, part, limit, seed) for part in (TRAIN, TEST))
    images, readable = load_images(folder / IMAGES, [*train, *test], image_size, channels, root)
    count = int(readable[: len(train)].sum())
    array = torch.from_numpy(images)
    return Dataset(array[:count], array[count:])


def _chosen(partition: dict[str, int], part: int, limit: int | None, seed: int) -> list[str]:
    names = [name for name, number in partition.items() if number == part]
    return [names[i] for i in subset(len(names), limit, seed)]


def _read_partition(path: Path, root: str) -> dict[str, int]:
    """Read which image belongs to which part.

    Raises:
        SettingError: If the file is damaged, or has nothing to train on.
    """
    partition: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError("dataset.root", root, f"{path} is damaged or unreadable") from error
    for number, line in enumerate(lines, 1):
        entry = LINE.fullmatch(line)
        if entry is None or entry[1] in partition:
            reason = f"{path} is damaged in line {number}, which should hold a new file's name and 0, 1 or 2"
            raise SettingError("dataset.root", root, reason)
        partition[entry[1]] = int(entry[2])
    if TRAIN not in partition.values():
        raise SettingError("dataset.root", root, f"{path} has no images to train on, which are marked {TRAIN}")
    return partition


def _obtain(folder: Path, root: str) -> None:
    """Put into the folder what is missing there: unpacked from the archive where it lies there, else downloaded.

    Raises:
        SettingError: If it cannot be had.
    """
    advice = f"put {PARTITION} and {ARCHIVE} (or the folder {IMAGES} that is in it) into {folder} yourself"
    with obtaining("CelebA", folder, root, advice) as temporary:
        partition = _here_or_downloaded(PARTITION, folder, temporary)
        if not (folder / IMAGES).is_dir():
            archive = _here_or_downloaded(ARCHIVE, folder, temporary)
            _unpack(archive, _read_partition(partition, root), temporary / IMAGES, root)
        folder.mkdir(parents=True, exist_ok=True)
        for whole in (temporary / IMAGES, temporary / PARTITION):
            if whole.exists():
                whole.rename(folder / whole.name)


def _here_or_downloaded(name: str, folder: Path, temporary: Path) -> Path:
    """Return where a file is: in its folder, or in the temporary one once it was downloaded.

    Raises:
        RuntimeError: If it cannot be had, or has not the published MD5.
    """
    from torchvision.datasets import CelebA
    from torchvision.datasets.utils import download_file_from_google_drive

    if (folder / name).is_file():
        return folder / name
    if importlib.util.find_spec("gdown") is None:
        raise RuntimeError("it needs gdown: pip install gdown")
    logger.info("%s is not in %s: downloading it", name, folder)
    for identifier, md5, listed in CelebA.file_list:
        if listed == name:
            try:
                download_file_from_google_drive(identifier, temporary, name, md5)
            except Exception as error:  # gdown's own errors are those of no module that we import
                raise RuntimeError(str(error)) from error
    return temporary / name


def _unpack(archive: Path, names: Collection[str], target: Path, root: str) -> None:
    """Copy the files of these names, in whatever folder of the archive, into the target, and nothing else.

    Raises:
        SettingError: If the archive is damaged or holds none of them.
    """
    target.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [(name, member) for member in packed.infolist() if (name := _base(member)) in names]
            for name, member in tqdm(members, desc="unpacking", unit="image", disable=None):
                with packed.open(member) as source, (target / name).open("wb") as file:
                    shutil.copyfileobj(source, file)
    # The last two: a method of compression that Python does not know, and a password.
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise SettingError("dataset.root", root, f"{archive} is damaged or truncated") from error
    if not members:
        raise SettingError("dataset.root", root, f"{archive} holds none of the images in {PARTITION}")


def _base(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).name
