"""The inputs that a user chooses: latents from a file, and classes."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wgan_cli.errors import InputError, list_names, suggest
from wgan_cli.networks.players import Batch

Array = np.ndarray[Any, Any]


def select_classes(
    chosen: Sequence[int | str] | None, class_names: Sequence[str], most: int | None = None
) -> list[int]:
    """Return the numbers of the classes to show.

    Args:
        chosen: The names of the user's choice, or numbers if no class has such a name; None for no choice.
        class_names: The names of the generator's classes.
        most: How many to show if the user did not choose; None: all.

    Returns:
        The user's choice, or else the generator's first classes. Empty if it has none.

    Raises:
        InputError: If the generator has no classes, or does not have the chosen ones.
    """
    if chosen is None:
        return list(range(len(class_names)))[:most]
    if not class_names:
        raise InputError("this generator was trained without classes; train one with dataset.conditional=true")
    numbers: dict[int | str, int] = {number: number for number in range(len(class_names))}
    numbers |= {_as_number(name): number for number, name in enumerate(class_names)}
    unknown = [each for each in chosen if each not in numbers]
    if unknown or not chosen:
        hint = suggest(str(unknown[0]), class_names) if unknown else ""
        last = len(class_names) - 1
        raise InputError(f"must be one or more of {list_names(class_names)}, or of the numbers 0 to {last}{hint}")
    return [numbers[each] for each in chosen]


def _as_number(name: str) -> int | str:
    """Return the number that Hydra makes of a class name such as 7, or the name."""
    return int(name) if re.fullmatch("0|[1-9][0-9]*", name) else name


def read_latents(path: Path, latent_dim: int, num_classes: int | None) -> Batch:
    """Read latents, and their classes if there are any, from an .npz file such as ``wgan-sample`` writes.

    Args:
        path: The file.
        latent_dim: Dimensions of a latent.
        num_classes: The number of classes that the generator has. With None, classes in the file are ignored.

    Returns:
        Latents, float32 (N, latent_dim), N ≥ 1; and classes, int64 (N,), or None.

    Raises:
        InputError: If the file cannot be read, or its arrays do not fit the generator.
    """
    try:
        zipfile.ZipFile(path).close()  # numpy takes any other file for a pickle, and explains how to load that
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in ("latents", "classes") if name in file}
    except Exception as error:  # the archive, its compression and the arrays all have their own types of error
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(f"is not a readable .npz file ({reason})") from error
    latents = _convert_latents(arrays.get("latents"), latent_dim)
    if num_classes is None or "classes" not in arrays:
        return Batch(latents)
    return Batch(latents, _convert_classes(arrays["classes"], len(latents), num_classes))


def _convert_latents(latents: Array | None, latent_dim: int) -> Tensor:
    wanted = f"must contain an array latents (N, {latent_dim}) of finite float32 numbers"
    if latents is None:
        raise InputError(f"{wanted}; it has no array of that name")
    if latents.ndim != 2 or latents.shape[1] != latent_dim or not len(latents) or latents.dtype.kind not in "fiu":
        raise InputError(f"{wanted}; the array is {latents.dtype} {latents.shape}")
    with np.errstate(over="ignore"):  # numbers that are too large for float32 become infinite
        converted = latents.astype(np.float32)
    if not np.isfinite(converted).all():
        raise InputError(f"{wanted}; some are not finite")
    return torch.from_numpy(converted)


def _convert_classes(classes: Array, count: int, num_classes: int) -> Tensor:
    fits = classes.shape == (count,) and classes.dtype.kind in "iu"
    if not fits or classes.min() < 0 or classes.max() >= num_classes:
        raise InputError(f"its classes must be {count:,} whole numbers from 0 to {num_classes - 1}; or choose others")
    return torch.from_numpy(classes.astype(np.int64))
