"""Drawing images from a generator, so that image k depends on nothing but the weights, the seed and k."""

from collections.abc import Iterator

import torch
from torch import Tensor

from wgan_cli.images import to_bytes
from wgan_cli.players import Generator
from wgan_cli.training.streams import derive

CHUNK = 64


def image_seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of the latents of images 0 to ``count - 1``."""
    return [derive(seed, "sample latents", index) for index in range(count)]


def sample_latents(seed: int, count: int, latent_dim: int) -> Tensor:
    """Draw the latents of images 0 to ``count - 1``, each from a seed of its own, on the CPU.

    Returns:
        float32, (count, latent_dim).
    """
    stream = torch.Generator()
    draws = [torch.randn(latent_dim, generator=stream.manual_seed(each)) for each in image_seeds(seed, count)]
    return torch.stack(draws)


@torch.no_grad()
def render(generator: Generator, latents: Tensor) -> Iterator[Tensor]:
    """Generate the images of latents in float32, in chunks of 64.

    The last bits of a float result depend on the batch size and on the place in the batch. So every chunk is padded
    to 64, and image k always has place k mod 64.

    Args:
        generator: Left in the mode that it came in; it draws in eval mode.
        latents: float32, (N, latent_dim).

    Yields:
        uint8, (at most 64, channels, height, width), on the CPU.
    """
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    try:
        for chunk in latents.split(CHUNK):
            padded = torch.cat([chunk, chunk.new_zeros(CHUNK - len(chunk), chunk.shape[1])])
            with torch.autocast(device.type, enabled=False):
                yield to_bytes(generator(padded.to(device))[: len(chunk)])
    finally:
        generator.train(training)


def sample(generator: Generator, seed: int, count: int) -> Tensor:
    """Generate images 0 to ``count - 1`` of a seed: uint8, (count, channels, height, width)."""
    return torch.cat(list(render(generator, sample_latents(seed, count, generator.latent_dim))))
