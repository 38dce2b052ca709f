"""Drawing samples from a generator. Sample k depends only on the weights, the seed, its class and k."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.networks.players import Batch, Generator
from wgan_cli.sampling.pictures import make_class_grid, make_grid, to_bytes
from wgan_cli.training.streams import derive_seed

CHUNK = 64
GRID_IMAGES = 64  # in a grid without classes
GRID_CLASSES, GRID_COLUMNS = 16, 8  # a grid with classes has at most 16 rows, one for each class, of 8 images


@dataclass(frozen=True)
class Inputs:
    """The latents and classes of any number of samples, made in chunks as they are needed.

    Attributes:
        count: The number of samples.
        make: Maps the first of some samples and their number to their latents, float32 (N, latent_dim), and their
            classes, int64 (N,) or None.
    """

    count: int
    make: Callable[[int, int], Batch]

    def __iter__(self) -> Iterator[Batch]:
        """Return the chunks that :func:`render` takes."""
        return (self.make(first, min(CHUNK, self.count - first)) for first in range(0, self.count, CHUNK))


def derive_latent_seeds(seed: int, count: int, first: int = 0) -> list[int]:
    """Return the seeds of the latents of samples ``first`` to ``first + count - 1``."""
    return [derive_seed(seed, "sample latents", index) for index in range(first, first + count)]


def draw_latents(seed: int, count: int, latent_dim: int, truncation: float | None = None, first: int = 0) -> Tensor:
    """Draw the latents of samples ``first`` to ``first + count - 1`` on the CPU, each from its own seed.

    Args:
        seed: The seed that the others are derived from.
        count: The number of latents, at least 1.
        latent_dim: Dimensions of a latent.
        truncation: Components outside ± this, above 0, are drawn again until they are inside; None keeps all. Smaller
            values give more typical and less varied samples.
        first: The number of the first sample.

    Returns:
        float32, (count, latent_dim).

    Source: for the truncation, Brock et al. 2019, "Large Scale GAN Training", section 3.1.
    """
    return torch.stack([_draw_latent(each, latent_dim, truncation) for each in derive_latent_seeds(seed, count, first)])


def _draw_latent(seed: int, latent_dim: int, truncation: float | None) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    latent = torch.randn(latent_dim, generator=stream)
    while truncation is not None and bool((outside := latent.abs() > truncation).any()):
        latent = torch.where(outside, torch.randn(latent_dim, generator=stream), latent)
    return latent


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Interpolate between two latents along the great circle through them.

    Points on the straight line are shorter than the latents that the generator was trained on. The line is used only
    if the circle is not unique: one latent is zero, or both point in the same or in opposite directions.

    Args:
        start: (latent_dim,).
        end: (latent_dim,).
        share: The part of the way, from 0 to 1. At 0 the result is ``start``, bit for bit.

    Returns:
        (latent_dim,), in the dtype of the two. Between latents of equal length all points have that length.

    Source: Shoemake 1985, as used by White 2016, "Sampling Generative Networks".
    """
    lengths = start.double().norm() * end.double().norm()
    angle = math.acos(min(1.0, max(-1.0, float(start.double() @ end.double() / lengths)))) if lengths > 0 else 0.0
    if math.sin(angle) < 1e-6:
        return torch.lerp(start, end, share)
    return math.sin((1 - share) * angle) / math.sin(angle) * start + math.sin(share * angle) / math.sin(angle) * end


def interpolate(stops: Tensor, frames: int) -> Tensor:
    """Return a closed path: from each latent to the next, and from the last back to the first.

    Args:
        stops: (S, latent_dim), S ≥ 2.
        frames: Latents from each stop to just before the next.

    Returns:
        (S · frames, latent_dim). Latent k · ``frames`` is stop k.
    """
    legs = zip(stops, stops.roll(-1, 0), strict=True)
    return torch.stack([slerp(start, end, frame / frames) for start, end in legs for frame in range(frames)])


@torch.no_grad()
def render(generator: Generator, chunks: Iterable[Batch]) -> Iterator[Tensor]:
    """Generate samples in chunks.

    The last bits of a sample depend on the batch size and on its place in the batch. So every chunk is padded to 64,
    and sample k is always at place k mod 64.

    Args:
        generator: Used in eval mode and in float32, and returned to its mode.
        chunks: Latents and classes, of 64 samples each but the last, which may have fewer.

    Yields:
        For each chunk, float32 (N, ...) in the shape of a sample, on the generator's device.
    """
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    try:
        for chunk in chunks:
            with torch.autocast(device.type, enabled=False):
                samples = generator(*(None if each is None else _pad(each).to(device) for each in chunk))
            yield samples[: len(chunk.samples)]
    finally:
        generator.train(training)


def _pad(part: Tensor) -> Tensor:
    return torch.cat([part, part.new_zeros(CHUNK - len(part), *part.shape[1:])])


def draw(generator: Generator, latents: Tensor, classes: Tensor | None = None) -> Tensor:
    """Generate samples as :func:`render` does, all at once: float32, (N, ...) in the shape of a sample."""
    return torch.cat(list(render(generator, take_from(latents, classes))))


def take_from(latents: Tensor, classes: Tensor | None = None) -> Inputs:
    """Return inputs that are in memory: latents, float32 (N, latent_dim), and classes, int64 (N,) or None."""

    def make(first: int, count: int) -> Batch:
        part = slice(first, first + count)
        return Batch(latents[part], None if classes is None else classes[part])

    return Inputs(len(latents), make)


def cycle(classes: Sequence[int], count: int, first: int = 0) -> Tensor | None:
    """Repeat classes in order, and return those of ``count`` samples: int64, (count,). Without classes, return None."""
    chosen = [classes[index % len(classes)] for index in range(first, first + count)] if classes else []
    return torch.tensor(chosen) if classes else None


def draw_grid(generator: Generator, seed: int) -> Tensor:
    """Draw the grid that shows how far training has come: 64 images, or a row of 8 for each of the first 16 classes.

    Returns:
        uint8, (channels, H, W).
    """
    classes = list(enumerate(generator.class_names[:GRID_CLASSES]))
    count = len(classes) * GRID_COLUMNS or GRID_IMAGES
    latents = draw_latents(seed, count, generator.latent_dim)
    images = to_bytes(draw(generator, latents, cycle(range(len(classes)), count)))
    return make_class_grid(images, classes) if classes else make_grid(images)


def arrange_real(samples: Tensor, labels: Tensor | None, class_names: Sequence[str] | None) -> Tensor:
    """Arrange real images like the generated ones in :func:`draw_grid`.

    Args:
        samples: uint8, (N, channels, height, width).
        labels: int64, (N,), if training uses classes.
        class_names: Their names.

    Returns:
        uint8, (channels, H, W). The place of an image that a class lacks is black.
    """
    if labels is None or class_names is None:
        return make_grid(samples[:GRID_IMAGES])
    classes = list(enumerate(class_names[:GRID_CLASSES]))
    images = samples.new_zeros(GRID_COLUMNS, len(classes), *samples.shape[1:])
    for number, _ in classes:
        chosen = (labels == number).nonzero()[:GRID_COLUMNS, 0]
        images[: len(chosen), number] = samples[chosen]
    return make_class_grid(images.flatten(0, 1), classes)
