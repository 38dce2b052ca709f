"""Checkpoints: written whole or not at all, read without running anything that they say."""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wgan_cli.files import whole
from wgan_cli.parameters import SettingError
from wgan_cli.run.failure import RunFailedError

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds, all of it plain data and tensors.

    Attributes:
        config: Every setting of the run that was in force.
        image_shape: (channels, height, width) of the images.
        num_classes: Of the images, where the networks know of classes, else None.
        state: ``TrainingState.state_dict()``.
        versions: Of what wrote it, by name.
    """

    config: dict[str, Any]
    image_shape: tuple[int, int, int]
    num_classes: int | None
    state: dict[str, Any]
    versions: dict[str, str]


def save_checkpoint(
    path: Path,
    config: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    state: Mapping[str, Any],
) -> None:
    """Write a checkpoint to a temporary file, flush it to the disk, and rename it into place.

    Raises:
        RunFailedError: If it cannot be written; what was at ``path`` before is still there.
    """
    content = {
        "format": FORMAT,
        "config": dict(config),
        "image_shape": image_shape,
        "num_classes": num_classes,
        "state": dict(state),
        "versions": {name: version(name) for name in ("wgan-cli", "torch", "torchvision")},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with whole(path) as partial, partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        _flush_folder(path.parent)
    except OSError as error:
        size = buffer.tell() / 1e6
        raise RunFailedError(f"could not save {path}, {size:.1f} MB: {error.strerror}.") from error


def link_checkpoint(existing: Path, path: Path) -> None:
    """Make ``path`` another name of an existing checkpoint, or a copy where the file system has no hard links."""
    with whole(path) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(existing, partial)
        except OSError:
            partial.write_bytes(existing.read_bytes())
    _flush_folder(path.parent)


def find_checkpoint(path: Path, key: str) -> Path:
    """Return the checkpoint that a file or a run folder stands for: the folder's ``checkpoints/last.pt``.

    Raises:
        SettingError: If there is none.
    """
    try:
        if not path.exists():
            raise SettingError(key, path, "does not exist")
        found = path / "checkpoints" / "last.pt" if path.is_dir() else path
        if not found.is_file():
            raise SettingError(key, path, "is no run folder with a checkpoint: there is no checkpoints/last.pt in it")
    except OSError as error:
        raise SettingError(key, path, f"cannot be looked at ({error.strerror})") from error
    return found


def load_checkpoint(path: Path, key: str) -> Checkpoint:
    """Read a checkpoint onto the CPU. Nothing in it is executed, imported or resolved.

    Args:
        path: A file.
        key: The setting that named it, for messages.

    Raises:
        SettingError: If it is none of ours, or damaged.
    """
    problem = _archive_problem(path)
    if problem:
        raise SettingError(key, path, f"is no checkpoint, or a damaged one: {problem}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds on a foreign or crafted file
        reason = str(error).partition("\n")[0][:100]
        raise SettingError(key, path, f"is no checkpoint of wgan-train ({type(error).__name__}: {reason})") from error
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise SettingError(key, path, "is no checkpoint of wgan-train: it lacks what one holds")
    if content["format"] != FORMAT:
        raise SettingError(key, path, f"has format {content['format']}; this version reads format {FORMAT}")
    kinds = {"config": dict, "image_shape": tuple, "num_classes": int | None, "state": dict, "versions": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
    if isinstance(content.get("num_classes"), int) and content["num_classes"] < 1:
        wrong.append("num_classes")
    if wrong or [type(size) for size in content["image_shape"]] != [int] * 3:
        raise SettingError(key, path, f"is no whole checkpoint: {', '.join(wrong) or 'image_shape'} cannot be used")
    if not all(map(_is_whole, _tensors(content))):
        raise SettingError(key, path, "has tensors that are not what they claim to be")
    return Checkpoint(**{name: content[name] for name in kinds})


def is_checkpoint(path: Path) -> bool:
    """Say whether a file is a whole checkpoint."""
    try:
        load_checkpoint(path, "")
    except SettingError:
        return False
    return True


def _tensors(content: object) -> Iterator[Tensor]:
    """Find the tensors in nested plain data, however often a part of it stands in another, or in itself."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part


def _is_whole(tensor: Tensor) -> bool:
    """Say whether a tensor has its own place in memory for each of its values: stride 0 makes them endless."""
    ordinary = tensor.device.type == "cpu" and tensor.layout is torch.strided
    return ordinary and tensor.nbytes <= tensor.untyped_storage().nbytes()


def _archive_problem(path: Path) -> str | None:
    """Say what is wrong with the archive: torch itself reads most flipped bits without a word."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                return "it has compressed entries"
            if any(entry.flag_bits & 1 or entry.external_attr for entry in entries):
                return "it has entries that torch does not write"  # and would read as folders, of random bytes
            damaged = archive.testzip()
            return f"checksum of {damaged} differs" if damaged else None
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        return str(error)


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power cut, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
