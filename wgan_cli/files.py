"""Paths as users write them, and files that are written completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wgan_cli.errors import InputError

PARTIAL = ".partial"  # ends the names of temporary files: .NAME.PID.partial


def parse_path(value: str) -> Path:
    """Return the path that a setting names, with ``~`` expanded.

    Raises:
        InputError: If no file can have that name.
    """
    if not value:
        raise InputError("must not be empty")
    try:
        path = Path(value).expanduser()
        path.exists()  # raises if the name is too long for the file system
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"is not a path ({getattr(error, 'strerror', None) or error})") from error
    return path


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Add the file's name to an ``OSError``: a failed write lacks it."""
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces ``path`` atomically.

    Raises:
        OSError: If it cannot be written; ``path`` is then unchanged.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with name_in_errors(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # still there after a failure, and if both names were links to one file


def link_latest(folder: Path, root: Path) -> None:
    """Make ``latest`` in ``root`` a link to a folder below it, if the file system has links and the name is free."""
    latest = root / "latest"
    if root in folder.parents and (latest.is_symlink() or not latest.exists()):
        with suppress(OSError), atomic_write(latest) as partial:
            partial.symlink_to(folder.relative_to(root), target_is_directory=True)
