"""Checkpoints: written whole or not at all, read without running anything that they say."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from wgan_cli.files import whole
from wgan_cli.parameters import SettingError
from wgan_cli.run.archive import read_archive, tensors_in
from wgan_cli.run.failure import RunFailedError
from wgan_cli.run.folder import RunFolder
from wgan_cli.training.state import require_count

log = logging.getLogger(__name__)

FORMAT = 3
# What a checkpoint may claim; all that there are have fewer. No claim makes us allocate more bytes than the file has.
LARGEST = 4096  # pixels along a side, and channels
MOST_CLASSES = 10**6


@dataclass(frozen=True)
class Images:
    """What is known of the images that a run is trained on.

    Attributes:
        shape: (channels, height, width).
        num_classes: How many classes they have, where the networks know of classes, else None.
        count: How many there are.
        digest: Of all of them, and of their labels.
    """

    shape: tuple[int, int, int]
    num_classes: int | None
    count: int
    digest: str


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("wgan-cli", "torch", "torchvision", "numpy", "pillow")}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds, all of it plain data and tensors.

    Attributes:
        config: Every setting of the run that was in force.
        images: That it is trained on.
        state: ``TrainingState.state_dict()``.
        versions: Of what wrote it, by name.
    """

    config: dict[str, Any]
    images: Images
    state: dict[str, Any]
    versions: dict[str, str] = field(default_factory=_versions)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to a temporary file, flush it to the disk, and rename it into place.

    Raises:
        RunFailedError: If it cannot be written; what was at ``path`` before is still there.
    """
    # Not asdict(), which would copy every tensor.
    content = {"format": FORMAT, **vars(checkpoint), "images": vars(checkpoint.images)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with whole(path) as partial:
            _write_through(partial, buffer.getbuffer())
        _flush_folder(path.parent)
    except OSError as error:
        size = buffer.tell() / 1e6
        raise RunFailedError(f"could not save {path}, which needs {size:,.2f} MB: {error.strerror}.") from error


def link_checkpoint(existing: Path, path: Path) -> None:
    """Make ``path`` another name of an existing checkpoint, or a copy where the file system has no hard links."""
    with whole(path) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(existing, partial)
        except OSError:
            _write_through(partial, existing.read_bytes())
    _flush_folder(path.parent)


def newest_checkpoint(path: Path, key: str) -> tuple[Path, Checkpoint]:
    """Read a checkpoint file, or the newest checkpoint of a run's folder that is intact.

    Newer ones that are not are named in a warning.

    Args:
        path: A file or a folder.
        key: The setting that named it, for messages.

    Returns:
        The file, and what is in it.

    Raises:
        SettingError: If there is none.
    """
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112 (these never raise)
        return path, load_checkpoint(path, key)
    folder = RunFolder(path)
    folder.require_checkpoints(key)
    files = _newest_first(folder)
    damaged: list[str] = []
    for file in files:
        try:
            checkpoint = _read(file)
        except ValueError as error:
            damaged.append(f"{file} {error}")
            continue
        if damaged:
            log.warning("%s\nThe newest intact checkpoint is used instead: %s", "\n".join(damaged), file)
        return file, checkpoint
    others = f"; nor is any other of its {len(files)} checkpoints" if files[1:] else ""
    raise SettingError(key, path, f"has no intact checkpoint: {damaged[0]}{others}")


def load_checkpoint(path: Path, key: str) -> Checkpoint:
    """Read a checkpoint onto the CPU. Nothing in it is executed, imported or resolved.

    Args:
        path: A file.
        key: The setting that named it, for messages.

    Raises:
        SettingError: If it is none of ours, or damaged.
    """
    try:
        return _read(path)
    except ValueError as error:
        raise SettingError(key, path, str(error)) from error


def peek(path: Path) -> Checkpoint | None:
    """Look at a checkpoint without reading its tensors, and so without noticing whether they are intact."""
    try:
        return _read(path, tensors=False)
    except ValueError:
        return None


@contextmanager
def must_fit(key: str, path: object, what: str) -> Iterator[None]:
    """Refuse a checkpoint whose parts do not fit together, whatever that raises where they are used.

    Args:
        key: The setting that named it.
        path: What it was set to.
        what: What is wrong then; the reason follows in brackets.

    Raises:
        SettingError: If they do not.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:  # a SettingError is a ValueError
        reason = str(error).partition("\n")[0]
        raise SettingError(key, path, f"{what} ({reason})") from error


def is_checkpoint(path: Path) -> bool:
    """Say whether a file is a whole checkpoint."""
    try:
        _read(path)
    except ValueError:
        return False
    return True


def _newest_first(folder: RunFolder) -> list[Path]:
    """Return a run's checkpoints. A process that was killed may have saved an epoch's and not yet named it the last."""
    files = folder.checkpoints()
    seen = [checkpoint.state["critic_updates"] for checkpoint in map(peek, files[:2]) if checkpoint is not None]
    return [files[1], files[0], *files[2:]] if len(seen) == 2 and seen[1] > seen[0] else files


def _read(path: Path, tensors: bool = True) -> Checkpoint:
    """Read a checkpoint, and check it, its tensors included unless told otherwise.

    Raises:
        ValueError: If it is none of ours, or damaged; the message goes on after the file's name.
    """
    content = read_archive(path, tensors)
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise ValueError("is no checkpoint of wgan-train: it lacks what one holds")
    if content["format"] != FORMAT:
        raise ValueError(f"has format {content['format']}; this version reads format {FORMAT}")
    parts: list[Any] = [content.get(name) for name in ("config", "images", "state", "versions")]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("is no whole checkpoint: it lacks its config, images, state or versions")
    config, images, state, versions = parts
    if tensors_in([config, images, versions]):
        raise ValueError("is no whole checkpoint: there are tensors where settings should be")
    for name in ("step", "critic_updates", "critic_updates_in_step"):
        require_count(state.get(name), name)
    return Checkpoint(config, _images(images), state, versions)


def _images(saved: dict[str, Any]) -> Images:
    """Check what a checkpoint says of its images.

    Raises:
        ValueError: If they cannot be.
    """
    values: list[Any] = [saved.get(name) for name in ("shape", "num_classes", "count", "digest")]
    shape, num_classes, count, digest = values
    if (
        isinstance(shape, tuple)
        and len(shape) == 3
        and all(_is_count(size, LARGEST) for size in shape)
        and (num_classes is None or _is_count(num_classes, MOST_CLASSES))
        and _is_count(count, 2**63)
        and isinstance(digest, str)
    ):
        return Images((shape[0], shape[1], shape[2]), num_classes, count, digest)
    raise ValueError("is no whole checkpoint: it was trained on images that cannot be")


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _write_through(path: Path, data: bytes | memoryview) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power cut, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
