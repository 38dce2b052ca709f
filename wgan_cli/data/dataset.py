"""The form of every dataset: arrays with a training and a test part."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wgan_cli.errors import InputError
from wgan_cli.limits import measure_free_memory
from wgan_cli.parameters import Range
from wgan_cli.settings import Count

ImageSize = Annotated[int, Range(8, 256)]
Channels = Literal[1, 3]
Limit = Count | None
FOR_TRAINING = 600_000_000  # bytes that are kept free for training if there are many images
SAMPLES = ((torch.uint8, 4), (torch.float32, 2))  # type and number of dimensions of images and of points


@dataclass(frozen=True)
class DataSpec:
    """Describes the samples that a run is trained on.

    Attributes:
        shape: Of one sample: (channels, height, width) of an image, (dimensions,) of a point.
        class_names: The names of the classes if training uses them, otherwise None.
        count: The number of training samples.
        fingerprint: A digest of all training samples and their labels.
    """

    shape: Annotated[tuple[Count, ...], Range(1, 3)]
    class_names: Annotated[tuple[str, ...], Range(1)] | None
    count: Count
    fingerprint: str

    @property
    def num_classes(self) -> int | None:
        """The number of classes if training uses them, otherwise None."""
        return None if self.class_names is None else len(self.class_names)


@dataclass(frozen=True)
class Dataset:
    """Samples in memory, divided into a training part and a test part that training never sees.

    Attributes:
        train: Images, uint8 (N, channels, size, size), or points, float32 (N, dimensions).
        test: The same, (M, ...); M may be 0.
        train_labels: int64 (N,), classes from 0 up, or None if there are none.
        test_labels: int64 (M,), or None.
        class_names: The name of each class, even if a limit leaves no sample of some; None without labels.
        why_no_classes: The reason, for a user who asks to train with classes.

    Raises:
        TypeError: If an array has another type or shape, if labels and ``class_names`` are not given together, or if a
            label is out of range. A user's own dataset may get this wrong.
    """

    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    class_names: Sequence[str] | None = None
    why_no_classes: str = "its samples have no labels"

    def __post_init__(self) -> None:
        given = {part is not None for part in (self.train_labels, self.test_labels, self.class_names)}
        if len(given) > 1:
            raise TypeError("train_labels, test_labels and class_names must be given together")
        for name, samples, labels in (("train", self.train, self.train_labels), ("test", self.test, self.test_labels)):
            if not (isinstance(samples, Tensor) and (samples.dtype, samples.dim()) in SAMPLES):
                wanted = "uint8 images (N, channels, size, size) or float32 points (N, dimensions)"
                raise TypeError(f"{name} must be a tensor of {wanted}; it is {_name_type(samples)}")
            if labels is None or self.class_names is None:
                continue
            if not (isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == samples.shape[:1]):
                wanted = f"an int64 tensor ({len(samples)},), one for each sample"
                raise TypeError(f"{name}_labels must be {wanted}; it is {_name_type(labels)}")
            if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.class_names)):
                wanted, found = f"from 0 to {len(self.class_names) - 1}", f"{int(labels.min())} to {int(labels.max())}"
                raise TypeError(f"{name}_labels must be {wanted}, the number of class_names less 1; they are {found}")

    def describe(self, conditional: bool) -> DataSpec:
        """Describe the training part.

        Args:
            conditional: Whether training uses the classes.
        """
        class_names = None if self.class_names is None else tuple(self.class_names)
        count = None if class_names is None else len(class_names)
        digest = hashlib.blake2b(repr((*self.train.shape, count)).encode(), digest_size=16)
        for part in (self.train, self.train_labels):
            if part is not None:
                digest.update(part.contiguous().numpy().data)
        used = class_names if conditional else None
        return DataSpec(tuple(self.train.shape[1:]), used, len(self.train), digest.hexdigest())


def _name_type(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"


def choose_subset(count: int, limit: int | None, seed: int) -> Tensor:
    """Choose which of ``count`` samples a limited dataset keeps: a seeded subset, in the original order.

    Returns:
        int64 indices, (min(count, limit),), ascending. They depend only on the arguments.
    """
    if limit is None or limit >= count:
        return torch.arange(count)
    chosen = np.random.default_rng([seed, count]).permutation(count)[:limit]
    return torch.from_numpy(np.sort(chosen))


def allocate_images(shape: tuple[int, ...]) -> Tensor:
    """Return an empty uint8 tensor.

    Raises:
        InputError: If there is not enough memory for it and for training.
    """
    size, free = math.prod(shape), measure_free_memory()
    needed = size + (FOR_TRAINING if size > FOR_TRAINING / 2 else 0)
    if needed > free:
        raise InputError(
            f"the images and training need {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB of memory are free; "
            "lower dataset.image_size, or set dataset.limit"
        )
    return torch.empty(shape, dtype=torch.uint8)


def resize_images(images: Tensor, image_size: int, channels: int) -> Tensor:
    """Convert square images to a size and a number of channels.

    Args:
        images: uint8, (N, 1 or 3, size, size).
        image_size: Pixels along a side. Images of another size are resampled by an antialiased bicubic filter.
        channels: 1 converts colour to luma (ITU-R 601-2, like Pillow's ``convert("L")``), 3 repeats grey.

    Returns:
        uint8, (N, channels, image_size, image_size).
    """
    if images.shape[1:] == (channels, image_size, image_size):
        return images
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    resized = allocate_images((len(images), channels, image_size, image_size))
    for start in range(0, len(images), 128):  # in parts, because floats take memory
        part = images[start : start + 128].float()
        if channels == 1 and part.shape[1] == 3:
            part = (part * luma).sum(1, keepdim=True)
        if part.shape[-1] != image_size:
            part = F.interpolate(part, (image_size, image_size), mode="bicubic", antialias=True)
        resized[start : start + 128] = part.round().clamp(0, 255)
    return resized
