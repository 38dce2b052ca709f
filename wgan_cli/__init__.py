"""Train Wasserstein GANs and their relatives, and draw images from the trained generators."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wgan_cli.networks.players import Generator

__version__ = version("wgan-cli")
__all__ = ["TrainedRun", "__version__", "load_generator", "train"]


class TrainedRun(NamedTuple):
    """What :func:`train` returns.

    Attributes:
        folder: The folder of the run.
        metrics: The last row of its metrics.csv, by column. Empty if there is none, as after a dry run.
    """

    folder: Path
    metrics: dict[str, float]


def train(settings: Sequence[str]) -> TrainedRun:
    """Train one run, as ``wgan-train`` does with the same words.

    Messages are printed, and a notebook shows a progress bar. Ctrl-C, or the stop button of a notebook, saves the state
    and raises ``KeyboardInterrupt``; ``resume=`` continues the run.

    Args:
        settings: Such as ``["dataset=mnist", "loss=hinge", "out=runs/mine"]``.

    Raises:
        ValueError: If a setting cannot be used.
        RuntimeError: If the run fails. The message names the last good checkpoint.
    """
    from wgan_cli.cli.call import train_run  # imports Hydra; importing the package must not wait for it

    return TrainedRun(*train_run(settings))


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
