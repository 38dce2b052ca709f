"""Checkpoints: one safetensors file each, written completely or not at all, and checked before anything is used.

The tensors are those of the training state. The metadata holds everything else as JSON, and a digest of the whole
content, because the format itself has no checksum.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wgan_cli.data.dataset import DataSpec
from wgan_cli.errors import InputError, RunFailedError, is_out_of_memory, make_printable
from wgan_cli.files import atomic_write
from wgan_cli.parameters import bind
from wgan_cli.run.folder import RunFolder
from wgan_cli.training.schedule import Position
from wgan_cli.training.state import require_count

log = logging.getLogger(__name__)

FORMAT = "wgan-cli 5"
NOT_OURS, NOT_COMPLETE = "is not a checkpoint of wgan-train", "is not a complete checkpoint"


@cache
def _list_versions() -> dict[str, str]:
    return {name: version(name) for name in ("wgan-cli", "torch", "torchvision", "numpy", "pillow")}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        config: Every setting of the run in force, as plain data.
        data: The samples that it is trained on.
        counts: ``TrainingState.counts()``.
        tensors: ``TrainingState.tensors()``; empty if only the rest was read.
        versions: Of the packages that wrote it, by name.
    """

    config: dict[str, Any]
    data: DataSpec
    counts: dict[str, Any]
    tensors: Mapping[str, Tensor]
    versions: dict[str, str] = field(default_factory=_list_versions)

    @property
    def position(self) -> Position:
        """How far training had come."""
        return Position(**{name: self.counts[name] for name in asdict(Position())})


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to a temporary file, flush it to the disk, and rename it into place.

    Raises:
        RunFailedError: If it cannot be written. The file at ``path`` is then the old one, or the complete new one.
    """
    # Copies, because safetensors refuses tied weights, which share their memory.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in checkpoint.tensors.items()}
    parts = {
        "config": checkpoint.config,
        "data": asdict(checkpoint.data),
        "counts": checkpoint.counts,
        "versions": checkpoint.versions,
    }
    metadata = {"format": FORMAT, **{name: json.dumps(part) for name, part in parts.items()}}
    metadata["digest"] = _digest(metadata, tensors)
    content = safetensors.torch.save(tensors, metadata)
    try:
        with atomic_write(path) as partial:
            _write_through(partial, content)
        _flush_folder(path.parent)
    except OSError as error:
        size = len(content) / 1e6
        raise RunFailedError(f"could not save {path}, which needs {size:,.2f} MB: {error.strerror}.") from error


def link_checkpoint(existing: Path, path: Path) -> None:
    """Make ``path`` another name of an existing checkpoint, or a copy on a file system without hard links."""
    with atomic_write(path) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(existing, partial)
        except OSError:
            _write_through(partial, existing.read_bytes())
    _flush_folder(path.parent)


def find_checkpoint(path: Path) -> tuple[Path, Checkpoint]:
    """Read a checkpoint file, or the newest intact checkpoint in the folder of a run.

    A warning names newer, damaged ones.

    Returns:
        The file, and its content.

    Raises:
        InputError: If there is none.
        OSError: If it cannot be read.
    """
    if path.exists() and not path.is_dir():
        return path, read_checkpoint(path)
    folder = RunFolder(path)
    folder.require_checkpoints()
    files = _sort_newest_first(folder)
    damaged: list[str] = []
    for file in files:
        try:
            checkpoint = read_checkpoint(file)
        except InputError as error:
            damaged.append(f"{file} {error}")
            continue
        if damaged:
            log.warning("%s\nThe newest intact checkpoint is used instead: %s", "\n".join(damaged), file)
        return file, checkpoint
    others = f", and so are the {len(files) - 1} others" if files[1:] else ""
    raise InputError(f"has no intact checkpoint: {damaged[0]}{others}")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check its digest. Nothing in it is executed, imported or resolved.

    Raises:
        InputError: If it is not a checkpoint of this version, or is damaged. The message continues the file's name.
        OSError: If it cannot be read.
    """
    with _open(path) as (metadata, file), refuse_misfits(NOT_COMPLETE):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        checkpoint = _parse(metadata, tensors)
        intact = _digest(metadata, tensors) == metadata["digest"]
        strange = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if not intact:
        raise InputError("is damaged: its content does not match its digest")
    if strange:
        raise InputError(f"contains numbers that are not finite, in {make_printable(strange[0])}; no run saves these")
    return checkpoint


def peek(path: Path) -> Checkpoint | None:
    """Read all but the tensors of a checkpoint, without checking its digest; None if it is not readable."""
    try:
        with _open(path) as (metadata, _), refuse_misfits(NOT_COMPLETE):
            return _parse(metadata, {})
    except InputError:
        return None


@contextmanager
def refuse_misfits(what: str) -> Iterator[None]:
    """Refuse a checkpoint whose parts do not fit together, whatever error they cause.

    Args:
        what: What is wrong with it. The reason follows in brackets.

    Raises:
        InputError: If the code in the context fails. Lack of memory passes: an intact checkpoint can cause it.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        reason = make_printable(str(error).partition("\n")[0])
        raise InputError(f"{what} ({reason})") from error


@contextmanager
def _open(path: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """Open a checkpoint: its metadata, and the file to read tensors from.

    Raises:
        InputError: If it is not a checkpoint of this version.
    """
    if not path.is_file():
        raise InputError("is not a file")
    if path.suffix == ".pt":
        raise InputError("is a checkpoint of an older version (*.pt), which this version cannot read")
    path.open("rb").close()  # raises the system's error: safe_open says that there is no such file
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                found = make_printable(metadata.get("format", "")[:40])
                ours = f"has format {found!r}, and this version reads {FORMAT!r}"
                raise InputError(ours if found.startswith("wgan-cli") else NOT_OURS)
            yield metadata, file
    except SafetensorError as error:
        raise InputError(f"{NOT_OURS}, or it is damaged ({make_printable(str(error)[:100])})") from error


def _parse(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Check the plain data of a checkpoint.

    Raises:
        KeyError, ValueError: If a part is missing or of the wrong kind.
    """
    names = ("config", "data", "counts", "versions")
    parts = {name: json.loads(metadata[name], parse_constant=_refuse_constant) for name in names}
    wrong = [name for name, part in parts.items() if not isinstance(part, dict)]
    if wrong:
        raise ValueError(f"{wrong[0]} must be an object")
    parts["data"] = bind(DataSpec, parts["data"], "data")
    for name in asdict(Position()):
        require_count(parts["counts"], name)
    return Checkpoint(**parts, tensors=tensors)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of all metadata but the digest, and of the names, types, shapes and bytes of all tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(metadata.keys() - {"digest"}):
        digest.update(f"{name}={metadata[name]}\0".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sort_newest_first(folder: RunFolder) -> list[Path]:
    """Return a run's checkpoints. A killed process may not have linked the newest as the last."""
    files = folder.checkpoints()
    seen = [checkpoint.position.critic_updates for checkpoint in map(peek, files[:2]) if checkpoint is not None]
    return [files[1], files[0], *files[2:]] if len(seen) == 2 and seen[1] > seen[0] else files


def _write_through(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
