"""The optimizers, one for each player, and their learning rates during a run."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, NamedTuple

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop

from wgan_cli.parameters import Range

Rate = Annotated[float, Range(above=0)]
Decay = Annotated[float, Range(0, below=1)]
Steps = Annotated[int, Range(0, 10**9)]
Shape = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """The learning rates during a run, as shares of the initial ones.

    Attributes:
        shape: ``constant``, or how the rates fall to 0 at the end of the run: ``linear`` or ``cosine``.
        warmup_steps: In these first steps the rates rise linearly to the initial ones.
    """

    shape: Shape = "constant"
    warmup_steps: int = 0

    def scale(self, step: int, total_steps: int | None) -> float:
        """Return the share of the initial rates in a step.

        It depends on nothing else, so a checkpoint need not store it.

        Args:
            step: Counted from 0; it may be above the end if a run is resumed with a shorter length.
            total_steps: Of the run; None only for a constant shape.

        Returns:
            From 0 to 1.

        Source: for the cosine, Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.shape == "constant" or total_steps is None:
            return 1.0
        progress = min(1.0, (step - self.warmup_steps) / max(1, total_steps - self.warmup_steps))
        return 1 - progress if self.shape == "linear" else (1 + math.cos(math.pi * progress)) / 2


class Optimizers(NamedTuple):
    """An optimizer for each player, and the schedule of their learning rates.

    Attributes:
        generator: Holds the generator's parameters. Its parameter groups know their ``initial_lr`` and ``max_norm``.
        critic: The same for the critic.
        schedule: Of both.
    """

    generator: Optimizer
    critic: Optimizer
    schedule: Schedule


def rmsprop(
    generator: nn.Module,
    critic: nn.Module,
    learning_rate: Rate = 2e-3,
    critic_learning_rate: Rate | None = 5e-4,
    alpha: Decay = 0.99,
    eps: Rate = 1e-8,
    max_norm: Rate | None = None,
    schedule: Shape = "constant",
    warmup_steps: Steps = 0,
) -> Optimizers:
    """RMSprop, the WGAN paper's optimizer: momentum makes a clipped critic unstable.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        learning_rate: The generator's, and the critic's if that is null.
        critic_learning_rate: The critic's.
        alpha: Decay of the running mean of squared gradients.
        eps: Added to the root of that mean.
        max_norm: Gradients of a player with a larger total norm are scaled down to it.
        schedule: Of both learning rates; see :class:`Schedule`.
        warmup_steps: The same.
    """
    make = partial(RMSprop, alpha=alpha, eps=eps, foreach=True)
    rates = learning_rate, critic_learning_rate or learning_rate
    return _make_both(make, generator, critic, rates, max_norm, Schedule(schedule, warmup_steps))


def adam(
    generator: nn.Module,
    critic: nn.Module,
    learning_rate: Rate = 5e-4,
    critic_learning_rate: Rate | None = 1e-3,
    betas: tuple[Decay, Decay] = (0.0, 0.9),
    eps: Rate = 1e-8,
    max_norm: Rate | None = None,
    schedule: Shape = "constant",
    warmup_steps: Steps = 0,
) -> Optimizers:
    """Adam.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        learning_rate: The generator's, and the critic's if that is null.
        critic_learning_rate: The critic's.
        betas: Decays of the running means of gradients and of their squares.
        eps: Added to the root of the latter.
        max_norm: Gradients of a player with a larger total norm are scaled down to it.
        schedule: Of both learning rates; see :class:`Schedule`.
        warmup_steps: The same.
    """
    make = partial(Adam, betas=betas, eps=eps, fused=True)
    rates = learning_rate, critic_learning_rate or learning_rate
    return _make_both(make, generator, critic, rates, max_norm, Schedule(schedule, warmup_steps))


def _make_both(
    make: Callable[..., Optimizer],
    generator: nn.Module,
    critic: nn.Module,
    rates: tuple[float, float],
    max_norm: float | None,
    schedule: Schedule,
) -> Optimizers:
    def make_one(player: nn.Module, rate: float) -> Optimizer:
        return make([{"params": list(player.parameters()), "initial_lr": rate, "max_norm": max_norm}], lr=rate)

    return Optimizers(make_one(generator, rates[0]), make_one(critic, rates[1]), schedule)


OPTIMIZERS: dict[str, Callable[..., Optimizers]] = {"adam": adam, "rmsprop": rmsprop}
