"""The optimizers, one for each player, and their learning rates during a run."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop

from wgan_cli.parameters import Range

Rate = Annotated[float, Range(above=0)]
Decay = Annotated[float, Range(0, below=1)]
Schedule = Literal["constant", "linear"]


class Optimizers(NamedTuple):
    """An optimizer for each player, and the schedule of their learning rates.

    Attributes:
        generator: Holds the generator's parameters. Its parameter groups know their ``initial_lr``.
        critic: The same for the critic.
        schedule: See :func:`scale_rate`.
    """

    generator: Optimizer
    critic: Optimizer
    schedule: Schedule


def rmsprop(
    generator: nn.Module,
    critic: nn.Module,
    learning_rate: Rate = 1e-3,
    critic_learning_rate: Rate | None = 2e-3,
    alpha: Decay = 0.99,
    eps: Rate = 1e-8,
    schedule: Schedule = "constant",
) -> Optimizers:
    """RMSprop, the WGAN paper's optimizer: momentum makes a clipped critic unstable.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        learning_rate: The generator's, and the critic's if that is null.
        critic_learning_rate: The critic's.
        alpha: Decay of the running mean of squared gradients.
        eps: Added to the root of that mean.
        schedule: Of both learning rates; see :func:`scale_rate`.
    """
    make = partial(RMSprop, alpha=alpha, eps=eps, foreach=True)
    return _make_both(make, generator, critic, learning_rate, critic_learning_rate, schedule)


def adam(
    generator: nn.Module,
    critic: nn.Module,
    learning_rate: Rate = 5e-4,
    critic_learning_rate: Rate | None = 1e-3,
    betas: tuple[Decay, Decay] = (0.0, 0.9),
    eps: Rate = 1e-8,
    schedule: Schedule = "constant",
) -> Optimizers:
    """Adam.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        learning_rate: The generator's, and the critic's if that is null.
        critic_learning_rate: The critic's.
        betas: Decays of the running means of gradients and of their squares.
        eps: Added to the root of the latter.
        schedule: Of both learning rates; see :func:`scale_rate`.
    """
    make = partial(Adam, betas=betas, eps=eps, fused=True)
    return _make_both(make, generator, critic, learning_rate, critic_learning_rate, schedule)


def scale_rate(schedule: Schedule, progress: float) -> float:
    """Return the current share of the initial learning rate.

    It depends only on the progress, so a checkpoint need not store it.

    Args:
        schedule: ``constant``, or ``linear``, which falls to 0 at the end of the run.
        progress: The share of the run's steps that is done; above 1 if a run is resumed with a shorter length.

    Returns:
        From 0 to 1.
    """
    return 1.0 if schedule == "constant" else max(0.0, 1 - progress)


def _make_both(
    make: Callable[..., Optimizer],
    generator: nn.Module,
    critic: nn.Module,
    rate: float,
    critic_rate: float | None,
    schedule: Schedule,
) -> Optimizers:
    def make_one(player: nn.Module, rate: float) -> Optimizer:
        return make([{"params": list(player.parameters()), "initial_lr": rate}], lr=rate)

    return Optimizers(make_one(generator, rate), make_one(critic, critic_rate or rate), schedule)


OPTIMIZERS: dict[str, Callable[..., Optimizers]] = {"adam": adam, "rmsprop": rmsprop}
