"""Files that are written whole or not at all, and errors that say which."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # what a killed process may leave ends so, after its number, and begins with a dot


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors name the file that is written: a write that fails does not say where."""
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside, of this process alone, which takes the place of this one when all is written.

    Raises:
        OSError: If there can be no such file.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with naming(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # renaming between two names of one file does nothing, too
