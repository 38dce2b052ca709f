"""What every dataset becomes: arrays with a train and a test part."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wgan_cli.parameters import Range

ImageSize = Annotated[int, Range(8, 256)]
Channels = Literal[1, 3]
Limit = Annotated[int, Range(1)] | None
Count = Annotated[int, Range(1)]


@dataclass(frozen=True)
class DataSpec:
    """What is known of the samples that a run is trained on.

    Attributes:
        shape: Of one sample; (channels, height, width) for images.
        num_classes: The number of classes if training uses them, otherwise None.
        count: The number of training samples.
        fingerprint: A digest of all training samples and their labels.
    """

    shape: tuple[Count, ...]
    num_classes: Count | None
    count: Count
    fingerprint: str


@dataclass(frozen=True)
class Dataset:
    """Samples in memory, divided into a training part and a test part that training never sees.

    Attributes:
        train: Images, uint8 (N, channels, size, size), or points, float32 (N, dimensions).
        test: The same, (M, ...); M may be 0.
        train_labels: int64 (N,), classes from 0 up, or None if there are none.
        test_labels: int64 (M,), or None.
        num_classes: The number of classes, even if a limit leaves no sample of some; None without labels.
    """

    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    num_classes: int | None = None

    def describe(self, conditional: bool) -> DataSpec:
        """Describe the training part.

        Args:
            conditional: Whether training uses the classes.
        """
        digest = hashlib.blake2b(repr((*self.train.shape, self.num_classes)).encode(), digest_size=16)
        for part in (self.train, self.train_labels):
            if part is not None:
                digest.update(part.contiguous().numpy().data)
        num_classes = self.num_classes if conditional else None
        return DataSpec(tuple(self.train.shape[1:]), num_classes, len(self.train), digest.hexdigest())

    def __post_init__(self) -> None:
        """Check the arrays, which a user's own dataset may get wrong.

        Raises:
            TypeError: If a part is neither images nor points, if its labels are not int64, one for each sample and each
                below ``num_classes``, or if there are labels without ``num_classes`` or the other way round.
        """
        for name, samples in (("train", self.train), ("test", self.test)):
            kind = (getattr(samples, "dtype", type(samples)), len(getattr(samples, "shape", ())))
            if kind not in ((torch.uint8, 4), (torch.float32, 2)):
                found = f"{kind[0]} {tuple(getattr(samples, 'shape', ()))}"
                wanted = "uint8 images (N, channels, size, size) or float32 points (N, dimensions)"
                raise TypeError(f"{name} must be a tensor of {wanted}; it is {found}")
        labels = (self.train_labels, self.test_labels, self.num_classes)
        if any(part is None for part in labels) and any(part is not None for part in labels):
            raise TypeError("train_labels, test_labels and num_classes go together")
        _check_labels("train_labels", self.train_labels, len(self.train), self.num_classes)
        _check_labels("test_labels", self.test_labels, len(self.test), self.num_classes)


def _check_labels(name: str, labels: Tensor | None, count: int, num_classes: int | None) -> None:
    if labels is None or num_classes is None:
        return
    if not (isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == (count,)):
        found = f"{getattr(labels, 'dtype', type(labels))} {tuple(getattr(labels, 'shape', ()))}"
        raise TypeError(f"{name} must be an int64 tensor ({count},), one for each sample; it is {found}")
    if count and not (labels.min() >= 0 and labels.max() < num_classes):
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise TypeError(f"{name} must be from 0 to {num_classes - 1}, below num_classes; they are {found}")


def choose_subset(count: int, limit: int | None, seed: int) -> Tensor:
    """Choose which of ``count`` samples a limited dataset keeps: a seeded subset, in the original order.

    Returns:
        int64 indices, (min(count, limit),), ascending. They depend on nothing but the arguments.
    """
    if limit is None or limit >= count:
        return torch.arange(count)
    chosen = np.random.default_rng([seed, count]).permutation(count)[:limit]
    return torch.from_numpy(np.sort(chosen))


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
    resized = torch.empty(len(images), channels, image_size, image_size, dtype=torch.uint8)
    for start in range(0, len(images), 128):  # in parts, because floats take memory
        part = images[start : start + 128].float()
        if channels == 1 and part.shape[1] == 3:
            part = (part * luma).sum(1, keepdim=True)
        if part.shape[-1] != image_size:
            part = F.interpolate(part, (image_size, image_size), mode="bicubic", antialias=True)
        resized[start : start + 128] = part.round().clamp(0, 255)
    return resized
