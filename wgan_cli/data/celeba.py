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
from tqdm.auto import tqdm

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, choose_subset
from wgan_cli.data.decode import load_images
from wgan_cli.data.download import choose_place, fill_folder
from wgan_cli.errors import InputError
from wgan_cli.files import parse_path
from wgan_cli.settings import Seed

logger = logging.getLogger(__name__)

IMAGES = "img_align_celeba"
ARCHIVE = "img_align_celeba.zip"
PARTITION = "list_eval_partition.txt"
TRAIN, VALID, TEST = 0, 1, 2  # as the partition file numbers them
# A line of the partition file. A name that leads out of the folder does not match.
LINE = re.compile(rf"(\w[\w.-]*)\s+([{TRAIN}{VALID}{TEST}])\s*", re.ASCII)


def celeba(
    root: str = "data", image_size: ImageSize = 64, channels: Channels = 3, limit: Limit = None, seed: Seed = 0
) -> Dataset:
    """Load CelebA: 162,770 faces for training and 19,962 for testing, in the order of the partition file.

    Its files are in celeba under ``root``: list_eval_partition.txt, and either the folder img_align_celeba or
    img_align_celeba.zip, which is then unpacked. They are downloaded from Google Drive, which needs gdown. The
    validation part and the labels are left out. See :func:`~wgan_cli.data.decode.load_images` for the decoding.
    """
    folder = parse_path(root) / "celeba"
    place = folder if all((folder / name).exists() for name in (PARTITION, IMAGES)) else choose_place(folder)
    files = {name: folder / name if (folder / name).exists() else place / name for name in (PARTITION, IMAGES)}
    if missing := [name for name, file in files.items() if not file.exists()]:
        _obtain(missing, folder, place)
    partition = _read_partition(files[PARTITION])
    train, test = (_choose_names(partition, part, limit, seed) for part in (TRAIN, TEST))
    images, readable = load_images(files[IMAGES], [*train, *test], image_size, channels)
    count = int(readable[: len(train)].sum())
    array = torch.from_numpy(images)
    return Dataset(array[:count], array[count:], why_no_classes="CelebA has none")


def _choose_names(partition: dict[str, int], part: int, limit: int | None, seed: int) -> list[str]:
    names = [name for name, number in partition.items() if number == part]
    return [names[i] for i in choose_subset(len(names), limit, seed)]


def _read_partition(path: Path) -> dict[str, int]:
    """Read which image belongs to which part."""
    partition: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged or unreadable") from error
    for number, line in enumerate(lines, 1):
        entry = LINE.fullmatch(line)
        if entry is None or entry[1] in partition:
            raise InputError(f"{path} is damaged in line {number}: a line names a new file and its part, 0, 1 or 2")
        partition[entry[1]] = int(entry[2])
    if TRAIN not in partition.values():
        raise InputError(f"{path} has no training images, which are marked {TRAIN}")
    return partition


def _obtain(missing: Collection[str], folder: Path, place: Path) -> None:
    """Put the missing files into a place, from the archive in the folder or from a download."""
    advice = f"put {PARTITION} and {ARCHIVE} (or its folder {IMAGES}) into {folder} yourself"
    with fill_folder("CelebA", place, missing, advice) as temporary:
        partition = _find_or_download(PARTITION, folder, temporary)
        if IMAGES in missing:
            archive = _find_or_download(ARCHIVE, folder, temporary)
            _unpack(archive, _read_partition(partition), temporary / IMAGES)


def _find_or_download(name: str, folder: Path, temporary: Path) -> Path:
    """Return the path of a file: in its folder, or in the temporary one after a download.

    Raises:
        RuntimeError: If it cannot be downloaded, or does not have the published MD5.
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
            except Exception as error:  # gdown is optional, and so are its error classes
                raise RuntimeError(str(error)) from error
    return temporary / name


def _unpack(archive: Path, names: Collection[str], target: Path) -> None:
    """Copy only the files with these names, from any folder of the archive, into the target."""
    target.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [
                (name, member) for member in packed.infolist() if (name := PurePosixPath(member.filename).name) in names
            ]
            for name, member in tqdm(members, desc="unpacking", unit="image", disable=None):
                with packed.open(member) as source, (target / name).open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise InputError(f"{archive} is damaged or truncated") from error
    if not members:
        raise InputError(f"{archive} contains none of the images in {PARTITION}")
