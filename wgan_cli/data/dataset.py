"""What every dataset becomes: arrays of uint8 images with a train and a test part."""

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


@dataclass(frozen=True)
class Dataset:
    """Images as they live in memory, in the training part and in a test part that training never sees.

    Attributes:
        train: uint8, (N, channels, size, size).
        test: uint8, (M, channels, size, size); M may be 0.
        train_labels: int64, (N,), classes from 0 up, or None where there are none.
        test_labels: int64, (M,), or None.
        num_classes: How many classes there are, whatever a limit left of them: labels are from 0 to num_classes − 1.
            None where there are no labels.
    """

    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    num_classes: int | None = None

    def digest(self) -> str:
        """Return a fingerprint of what is trained on: with another image, label or order it is another."""
        digest = hashlib.blake2b(repr((*self.train.shape, self.num_classes)).encode(), digest_size=16)
        for part in (self.train, self.train_labels):
            if part is not None:
                digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def __post_init__(self) -> None:
        """Refuse other arrays, which a new dataset might return, before anything is made of them.

        Raises:
            TypeError: If a part is not uint8 of four dimensions, or its labels are not int64, one for each image
                and each of a class that exists; or if there are labels or a number of classes without the others.
        """
        for name, images in (("train", self.train), ("test", self.test)):
            if not (isinstance(images, Tensor) and images.dtype == torch.uint8 and images.dim() == 4):
                found = f"{getattr(images, 'dtype', type(images))} {tuple(getattr(images, 'shape', ()))}"
                raise TypeError(f"{name} must be a uint8 tensor (N, channels, size, size); it is {found}")
        labels = (self.train_labels, self.test_labels, self.num_classes)
        if any(part is None for part in labels) and any(part is not None for part in labels):
            raise TypeError("train_labels, test_labels and num_classes come together or not at all")
        _check_labels("train_labels", self.train_labels, len(self.train), self.num_classes)
        _check_labels("test_labels", self.test_labels, len(self.test), self.num_classes)


def _check_labels(name: str, labels: Tensor | None, count: int, num_classes: int | None) -> None:
    if labels is None or num_classes is None:
        return
    if not (isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == (count,)):
        found = f"{getattr(labels, 'dtype', type(labels))} {tuple(getattr(labels, 'shape', ()))}"
        raise TypeError(f"{name} must be an int64 tensor ({count},), one for each image; it is {found}")
    if count and not (labels.min() >= 0 and labels.max() < num_classes):
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise TypeError(f"{name} must be from 0 to {num_classes - 1}, one less than num_classes; they are {found}")


def subset(count: int, limit: int | None, seed: int) -> Tensor:
    """Choose which of ``count`` images a limited dataset keeps: a seeded subset, in the order they had.

    Returns:
        int64 indices, (min(count, limit),), ascending; the choice depends on nothing but the arguments.
    """
    if limit is None or limit >= count:
        return torch.arange(count)
    chosen = np.random.default_rng([seed, count]).permutation(count)[:limit]
    return torch.from_numpy(np.sort(chosen))


def fit(images: Tensor, image_size: int, channels: int) -> Tensor:
    """Bring square images to a size and a number of channels.

    Args:
        images: uint8, (N, 1 or 3, size, size).
        image_size: Pixels along a side. Where it differs, an antialiased bicubic filter resamples.
        channels: 1 turns colour to luma (ITU-R 601-2, as Pillow's ``convert("L")``), 3 repeats grey.

    Returns:
        uint8, (N, channels, image_size, image_size).
    """
    if images.shape[1:] == (channels, image_size, image_size):
        return images
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    fitted = torch.empty(len(images), channels, image_size, image_size, dtype=torch.uint8)
    for start in range(0, len(images), 128):  # in parts, as floats take memory
        part = images[start : start + 128].float()
        if channels == 1 and part.shape[1] == 3:
            part = (part * luma).sum(1, keepdim=True)
        if part.shape[-1] != image_size:
            part = F.interpolate(part, (image_size, image_size), mode="bicubic", antialias=True)
        fitted[start : start + 128] = part.round().clamp(0, 255)
    return fitted
