"""Endless shuffled batches from one array."""

from collections.abc import Callable

import torch
from torch import Tensor

from wgan_cli.networks.players import Batch


class Batches:
    """Batches of real samples by position, made on the training device if the samples fit there.

    An epoch is ⌊N / batch_size⌋ batches, in which no sample occurs twice; the last partial batch is dropped. Each epoch
    has a new order. A batch depends on its position only, not on earlier calls.

    Args:
        samples: uint8 images (N, channels, height, width) or float32 points (N, dimensions), with N ≥ ``batch_size``.
        batch_size: Samples in a batch.
        device: The device of the batches.
        shuffle: Maps an epoch to the random stream of its order, on the CPU.
        labels: int64 (N,), if training uses classes.
        flip: Maps a position to the random stream, on the device, that decides which images are mirrored left to right,
            each with probability ½; None mirrors none.
        with_samples: Whether batches have samples. If not, these are empty, (0, ...), and only the classes are drawn.
    """

    def __init__(
        self,
        samples: Tensor,
        batch_size: int,
        device: torch.device,
        shuffle: Callable[[int], torch.Generator],
        labels: Tensor | None = None,
        flip: Callable[[int], torch.Generator] | None = None,
        *,
        with_samples: bool = True,
    ) -> None:
        self._samples, self._labels, self._with_samples = samples, labels, with_samples
        self._batch_size, self._device = batch_size, device
        self._shuffle, self._flip = shuffle, flip
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self.per_epoch = len(samples) // batch_size

    def __getitem__(self, position: int) -> Batch:
        """Return the batch at a position, counted from the start of the first epoch.

        Returns:
            float32 images in [-1, 1], channels last, or float32 points; and their classes, int64 (batch,), or None.
        """
        chosen = self._choose(position)
        classes = None if self._labels is None else self._labels[chosen].to(self._device, non_blocking=True)
        if not self._with_samples:
            return Batch(torch.empty(0, *self._samples.shape[1:], device=self._device), classes)
        samples = self._samples[chosen].to(self._device, non_blocking=True)
        if samples.dtype == torch.uint8:
            if self._flip is not None:
                mirrored = torch.rand(len(samples), 1, 1, 1, generator=self._flip(position), device=self._device) < 0.5
                samples = torch.where(mirrored, samples.flip(3), samples)
            samples = samples.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
        return Batch(samples, classes)

    def _choose(self, position: int) -> Tensor:
        """Return the indices of the samples in a batch."""
        epoch, index = divmod(position, self.per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self._samples), generator=self._shuffle(epoch))
            self._epoch, self._order = epoch, order.to(self._samples.device)
        return self._order[index * self._batch_size : (index + 1) * self._batch_size]
