"""Endless shuffled batches from one array."""

from collections.abc import Callable

import torch
from torch import Tensor


class Batches:
    """Batches of images by position: an index, a cast and a scale, on the training device where the images fit there.

    An epoch is ⌊N / batch_size⌋ batches in which no image comes twice; the last partial batch is dropped, and each
    epoch has an order of its own. Batch n is the same whoever asks for it, and whatever was asked for before.

    Args:
        images: uint8, (N, channels, height, width); N is at least ``batch_size``.
        batch_size: Images in a batch.
        device: Where batches are wanted.
        shuffle: Maps an epoch to the random stream, on the CPU, of its order.
        labels: int64, (N,), beside the images; None where their classes are not to be known.
        flip: Maps a position to the random stream, on the device, that decides which images of the batch are mirrored
            left to right, each with probability ½; None mirrors none.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        device: torch.device,
        shuffle: Callable[[int], torch.Generator],
        labels: Tensor | None = None,
        flip: Callable[[int], torch.Generator] | None = None,
    ) -> None:
        self._images = images
        self._labels = labels
        self._batch_size = batch_size
        self._device = device
        self._shuffle = shuffle
        self._flip = flip
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self.per_epoch = len(images) // batch_size

    def __getitem__(self, position: int) -> Tensor:
        """Return batch ``position``, counted from the first epoch's first: float32 in [-1, 1], channels last."""
        batch = self._images[self._chosen(position)].to(self._device, non_blocking=True)
        if self._flip is not None:
            mirrored = torch.rand(len(batch), 1, 1, 1, generator=self._flip(position), device=self._device) < 0.5
            batch = torch.where(mirrored, batch.flip(3), batch)
        return batch.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)

    def classes(self, position: int) -> Tensor | None:
        """Return the labels of that batch, int64 (batch_size,), on the device, or None."""
        if self._labels is None:
            return None
        return self._labels[self._chosen(position)].to(self._device, non_blocking=True)

    def _chosen(self, position: int) -> Tensor:
        """Return which images make a batch."""
        epoch, index = divmod(position, self.per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self._images), generator=self._shuffle(epoch))
            self._epoch, self._order = epoch, order.to(self._images.device)
        return self._order[index * self._batch_size : (index + 1) * self._batch_size]
