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
    """

    def __init__(
        self, images: Tensor, batch_size: int, device: torch.device, shuffle: Callable[[int], torch.Generator]
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._device = device
        self._shuffle = shuffle
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self.per_epoch = len(images) // batch_size

    def __getitem__(self, position: int) -> Tensor:
        """Return batch ``position``, counted from the first epoch's first: float32 in [-1, 1], channels last."""
        epoch, index = divmod(position, self.per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self._images), generator=self._shuffle(epoch))
            self._epoch, self._order = epoch, order.to(self._images.device)
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        batch = self._images[chosen].to(self._device, non_blocking=True)
        return batch.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
