"""Train Wasserstein GANs and their relatives, and draw images from the trained generators."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wgan_cli.networks.players import Generator

__version__ = version("wgan-cli")
__all__ = ["__version__", "load_generator"]


def load_generator(path: str | Path, device: str = "cpu") -> "Generator":
    """Load the trained generator from a checkpoint, ready to draw images.

    Args:
        path: A checkpoint file, or the folder of a run, whose newest intact checkpoint is used.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``.

    Returns:
        The generator (its moving average, if the run kept one) in eval mode. It maps latents
        (batch, generator.latent_dim), drawn from N(0, I), to float32 images (batch, channels, height, width) in
        [-1, 1].

    Raises:
        ValueError: If there is no checkpoint, or it cannot be used.
    """
    from wgan_cli.build.restore import load_generator as load  # imports torch; --help must not wait for it

    return load(path, device)
