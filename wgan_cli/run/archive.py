"""Archives of tensors and plain data, as torch writes them, read from files that anybody may have made."""

import errno
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from wgan_cli.parameters import printable
from wgan_cli.run.failure import is_out_of_memory

# What is read takes no more memory than the file is large. That there is none for a smaller one is the file's fault.
SMALL = 2**24
MACHINES_FAULT = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def read_archive(path: Path, tensors: bool = True) -> object:
    """Read what ``torch.save`` wrote. Nothing in it is executed or imported; nothing larger than the file is allocated.

    Args:
        path: The file.
        tensors: Whether to read the tensors, and to see if they are intact and finite. They are left on the disk
            otherwise, and only the rest is read.

    Returns:
        Nested plain data and tensors, on the CPU.

    Raises:
        ValueError: If that is impossible; the message goes on after the file's name.
        MemoryError, OSError: If it is the machine's fault, and not the file's.
    """
    problem = _problem(path, checksums=tensors)
    if problem:
        raise ValueError(f"is no checkpoint, or a damaged one: {printable(problem)}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of kinds of tensors that are refused below
            content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=not tensors)
    except Exception as error:  # torch raises a dozen kinds on a foreign or crafted file
        if is_out_of_memory(error) and path.stat().st_size > SMALL:
            raise MemoryError(f"out of memory while reading {path}") from error
        reason = printable(f"{type(error).__name__}: {error}".partition("\n")[0][:100])
        if type(error).__name__ == "UnpicklingError":  # its text tells how to load the file nevertheless
            reason = "it holds something other than tensors, numbers and text"
        raise ValueError(f"is no checkpoint of wgan-train ({reason})") from error
    if tensors:
        found = tensors_in(content)
        if not all(map(_is_whole, found)):
            raise ValueError("has tensors that are not what they claim to be")
        if not all(torch.isfinite(tensor).all() for tensor in found):
            raise ValueError("has numbers that are not finite, which no run saves")
    return content


def tensors_in(content: object) -> list[Tensor]:
    """Find the tensors in nested plain data, however often a part of it stands in another, or in itself."""
    found: list[Tensor] = []
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return found


def _is_whole(tensor: Tensor) -> bool:
    """Say whether a tensor has its own place in memory for each of its values: stride 0 makes them endless."""
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        return False
    taken = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride < taken:
            return False
        taken = max(taken, stride * size)
    return tensor.nbytes <= tensor.untyped_storage().nbytes()


def _problem(path: Path, checksums: bool) -> str | None:
    """Say what is wrong with the archive: torch itself reads most flipped bits without a word."""
    if not path.is_file():
        return "it is no file"  # but a folder, or a device, which never ends
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                return "it has compressed entries"
            if any(entry.flag_bits & 1 or entry.external_attr for entry in entries):
                return "it has entries that torch does not write"  # and would read as folders, of random bytes
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                return "its entries are larger than the file"
            damaged = archive.testzip() if checksums else None
            return f"checksum of {damaged!r} differs" if damaged else None
    except OSError as error:
        if error.errno in MACHINES_FAULT:
            raise
        return str(error)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        return str(error)
