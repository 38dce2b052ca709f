"""Failures of a run: of the machine, or of the training. Importing this does not import torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunFailedError(RuntimeError):
    """A run could not go on: what happened, where the last good checkpoint is, and what to try."""


@contextmanager
def failures(last_checkpoint: Path | None = None) -> Iterator[None]:
    """Turn failures of the machine into failures of the run, and name the last good checkpoint in either.

    Args:
        last_checkpoint: Where it is, if there is one. None before the run has begun.
    """
    try:
        yield
    except (RunFailedError, OSError, MemoryError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        if last_checkpoint is not None:
            exists = last_checkpoint.is_file()
            reason += f" The last good checkpoint is {last_checkpoint}." if exists else " There is no checkpoint yet."
        raise RunFailedError(reason) from error


def _reason(error: Exception) -> str | None:
    """Say in a sentence what failed, or None where it is a fault of the program's own."""
    if isinstance(error, RunFailedError):
        return str(error)
    if isinstance(error, OSError):
        return f"could not use {error.filename or 'the disk'}: {error.strerror or error}."
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "Out of memory; try a smaller batch_size, generator.width and critic.width, or dataset.limit."
    return None
