"""Drawing images from a generator, so that image k depends on nothing but the weights, the seed, its class and k."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wgan_cli.images import grid, to_bytes
from wgan_cli.players import Generator
from wgan_cli.training.streams import derive

CHUNK = 64
GRID_IMAGES = 64  # in a grid of images without classes
GRID_CLASSES, GRID_COLUMNS = 16, 8  # in one with classes: at most so many rows, of so many images


def image_seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of the latents of images 0 to ``count - 1``."""
    return [derive(seed, "sample latents", index) for index in range(count)]


def sample_latents(seed: int, count: int, latent_dim: int, truncation: float | None = None) -> Tensor:
    """Draw the latents of images 0 to ``count - 1``, each from a seed of its own, on the CPU.

    Args:
        seed: Of all of them.
        count: How many, at least 1.
        latent_dim: Dimensions of a latent.
        truncation: Components outside ± this, above 0, are drawn again until they are inside, which trades variety for
            images that are more typical (Brock et al. 2019, "Large Scale GAN Training", section 3.1); None keeps all.

    Returns:
        float32, (count, latent_dim).
    """
    return torch.stack([_latent(each, latent_dim, truncation) for each in image_seeds(seed, count)])


def _latent(seed: int, latent_dim: int, truncation: float | None) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    latent = torch.randn(latent_dim, generator=stream)
    while truncation is not None and bool((outside := latent.abs() > truncation).any()):
        latent = torch.where(outside, torch.randn(latent_dim, generator=stream), latent)
    return latent


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Go a share of the way from one latent to another along the great circle between them.

    A straight line would lead through latents that are shorter than those that the generator was trained on. Where
    there is no one circle (one of the two is zero, or they point the same way, or opposite ways) the line is taken.

    Args:
        start: (latent_dim,).
        end: (latent_dim,).
        share: From 0, which is the start to the bit, to 1.

    Returns:
        (latent_dim,), in the dtype of the two. Between latents of one length all have that length.

    Source: Shoemake 1985, as White 2016, "Sampling Generative Networks", uses it.
    """
    lengths = start.double().norm() * end.double().norm()
    angle = math.acos(min(1.0, max(-1.0, float(start.double() @ end.double() / lengths)))) if lengths > 0 else 0.0
    if math.sin(angle) < 1e-6:
        return torch.lerp(start, end, share)
    return math.sin((1 - share) * angle) / math.sin(angle) * start + math.sin(share * angle) / math.sin(angle) * end


def closed_path(stops: Tensor, frames: int) -> Tensor:
    """Go from each latent to the next, and from the last back to the first.

    Args:
        stops: (S, latent_dim), S ≥ 2.
        frames: Latents from each stop on, up to and without the next.

    Returns:
        (S · frames, latent_dim); number k · ``frames`` is stop k.
    """
    legs = zip(stops, stops.roll(-1, 0), strict=True)
    return torch.stack([slerp(start, end, frame / frames) for start, end in legs for frame in range(frames)])


@torch.no_grad()
def render(generator: Generator, latents: Tensor, classes: Tensor | None = None) -> Iterator[Tensor]:
    """Generate the images of latents in float32, in chunks of 64.

    The last bits of a float result depend on the batch size and on the place in the batch. So every chunk is padded
    to 64, and image k always has place k mod 64.

    Args:
        generator: Left in the mode that it came in; it draws in eval mode.
        latents: float32, (N, latent_dim).
        classes: int64, (N,), where the generator has classes.

    Yields:
        uint8, (at most 64, channels, height, width), on the CPU.
    """
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    try:
        for start in range(0, len(latents), CHUNK):
            part = [inputs[start : start + CHUNK] for inputs in (latents, classes) if inputs is not None]
            padded = [torch.cat([each, each.new_zeros(CHUNK - len(each), *each.shape[1:])]) for each in part]
            with torch.autocast(device.type, enabled=False):
                images = generator(*(each.to(device) for each in padded))
            yield to_bytes(images[: len(part[0])])
    finally:
        generator.train(training)


def draw(generator: Generator, latents: Tensor, classes: Tensor | None = None) -> Tensor:
    """Generate the images of latents as :func:`render` does, all at once: uint8, (N, channels, height, width)."""
    return torch.cat(list(render(generator, latents, classes)))


def classes_of(generator: Generator) -> list[int]:
    """Return the classes that a generator shows when nobody chose any: all, or none where it knows of none."""
    return list(range(generator.num_classes or 0))


def in_turn(classes: Sequence[int], count: int) -> Tensor | None:
    """Return the classes of images 0 to ``count - 1``: one after the other, again and again; None if there are none.

    Returns:
        int64, (count,), or None.
    """
    return torch.tensor([classes[index % len(classes)] for index in range(count)]) if classes else None


def sample(generator: Generator, seed: int, count: int, classes: Sequence[int] | None = None) -> Tensor:
    """Generate images 0 to ``count - 1`` of a seed.

    Args:
        generator: Left as it is.
        seed: Of the latents.
        count: How many.
        classes: Those that the images show in turn; None: all that there are.

    Returns:
        uint8, (count, channels, height, width).
    """
    shown = in_turn(classes_of(generator) if classes is None else classes, count)
    return draw(generator, sample_latents(seed, count, generator.latent_dim), shown)


def sample_grid(generator: Generator, seed: int) -> Tensor:
    """Draw the grid that shows how far a generator has come: 64 images, or 8 of each class, a class a row.

    Returns:
        uint8, (channels, H, W).
    """
    rows = classes_of(generator)[:GRID_CLASSES]
    images = sample(generator, seed, len(rows) * GRID_COLUMNS or GRID_IMAGES, rows)
    return grid(images, rows=len(rows) or None)
