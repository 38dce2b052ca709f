"""Failures of a run: of the machine, or of the training. Importing this does not import torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class RunFailedError(RuntimeError):
    """A run could not go on: what happened, where the last good checkpoint is, and what to try."""


@contextmanager
def failures(config: Mapping[str, Any] | None = None, last_checkpoint: Path | None = None) -> Iterator[None]:
    """Turn failures of the machine into failures of the run, and name the last good checkpoint in either.

    Args:
        config: The settings in force, from which those are named that take memory.
        last_checkpoint: Where it is, if there is one. None before the run has begun.
    """
    try:
        yield
    except (RunFailedError, OSError, MemoryError, RuntimeError) as error:
        reason = _reason(error, config or {})
        if reason is None:
            raise
        if last_checkpoint is not None:
            exists = last_checkpoint.is_file()
            reason += f" The last good checkpoint is {last_checkpoint}." if exists else " There is no checkpoint yet."
        raise RunFailedError(reason) from error


def _reason(error: Exception, config: Mapping[str, Any]) -> str | None:
    """Say in a sentence what failed, or None where it is a fault of the program's own."""
    if isinstance(error, RunFailedError):
        return str(error)
    if isinstance(error, OSError):
        return could_not_use(error)
    if is_out_of_memory(error):
        settings = ", ".join(_what_takes_memory(config)) or "batch_size, generator.width, critic.width, dataset.limit"
        return f"out of memory; lower one of {settings}."
    return None


def could_not_use(error: OSError) -> str:
    """Say in a sentence which file or folder failed, and how."""
    return f"could not use {error.filename or 'the disk'}: {error.strerror or error}."


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error means that there is too little memory; torch has no type of its own for that on a CPU."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


# What CUDA, torch's CPU allocator, C++ and oneDNN say.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "could not create a memory object")


def _what_takes_memory(config: Mapping[str, Any]) -> Iterator[str]:
    """Name the settings, with their values, that memory goes with."""
    for key in ("batch_size", "generator_batch_size", "num_images"):
        if config.get(key) is not None:
            yield f"{key}={config[key]}"
    for key in ("generator", "critic"):
        part = config.get(key, {})
        yield from (f"{key}.{size}={part[size]}" for size in ("width", "hidden_sizes") if size in part)
    if "dataset" in config:
        dataset = config["dataset"]
        yield from (f"dataset.{key}={dataset[key] or 'null'}" for key in ("image_size", "limit") if key in dataset)
