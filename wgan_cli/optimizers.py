"""The optimizers: torch's own, one for the generator and one for the critic, and their learning rates over a run."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop

from wgan_cli.parameters import Range

Rate = Annotated[float, Range(above=0)]
Decay = Annotated[float, Range(0, below=1)]
Schedule = Literal["constant", "linear"]
Progress = Callable[[], float]


def rmsprop(
    generator: nn.Module,
    critic: nn.Module,
    progress: Progress,
    learning_rate: Rate = 1e-3,
    critic_learning_rate: Rate | None = 2e-3,
    alpha: Decay = 0.99,
    eps: Rate = 1e-8,
    schedule: Schedule = "constant",
) -> tuple[Optimizer, Optimizer]:
    """RMSprop, as the WGAN paper uses it: no momentum, which a clipped critic takes badly.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        progress: Says which share of the run's steps is done, from 0 to 1.
        learning_rate: Of both, unless the critic has its own.
        critic_learning_rate: The critic's, where it is not null.
        alpha: Decay of the running mean of squared gradients.
        eps: Added to the root of that mean.
        schedule: Of the learning rates; see :func:`scheduled`.

    Returns:
        The generator's and the critic's optimizer.
    """
    make = partial(RMSprop, alpha=alpha, eps=eps, foreach=True)
    return (
        scheduled(make(generator.parameters(), learning_rate), schedule, progress),
        scheduled(make(critic.parameters(), critic_learning_rate or learning_rate), schedule, progress),
    )


def adam(
    generator: nn.Module,
    critic: nn.Module,
    progress: Progress,
    learning_rate: Rate = 5e-4,
    critic_learning_rate: Rate | None = 1e-3,
    betas: tuple[Decay, Decay] = (0.0, 0.9),
    eps: Rate = 1e-8,
    schedule: Schedule = "constant",
) -> tuple[Optimizer, Optimizer]:
    """Adam.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        progress: Says which share of the run's steps is done, from 0 to 1.
        learning_rate: Of both, unless the critic has its own.
        critic_learning_rate: The critic's, where it is not null.
        betas: Decays of the running means of gradients and of their squares.
        eps: Added to the root of the latter.
        schedule: Of the learning rates; see :func:`scheduled`.

    Returns:
        The generator's and the critic's optimizer.
    """
    make = partial(Adam, betas=betas, eps=eps, fused=True)
    return (
        scheduled(make(generator.parameters(), learning_rate), schedule, progress),
        scheduled(make(critic.parameters(), critic_learning_rate or learning_rate), schedule, progress),
    )


def scheduled(optimizer: Optimizer, schedule: Schedule, progress: Progress) -> Optimizer:
    """Let an optimizer's learning rate follow a schedule.

    It is set before each of its steps, from the share of the run that is done and nothing else, so that a run that
    goes on needs no memory of it.

    Args:
        optimizer: With the rate that it begins with.
        schedule: ``constant``, or ``linear``: it falls to 0 at the end of the run.
        progress: Says which share of the run's steps is done, from 0 to 1.

    Returns:
        The same optimizer.
    """
    if schedule == "linear":
        rates = [group["lr"] for group in optimizer.param_groups]

        def decay(*_: Any) -> None:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * max(0.0, 1 - progress())

        optimizer.register_step_pre_hook(decay)
    return optimizer


OPTIMIZERS: dict[str, Callable[..., tuple[Optimizer, Optimizer]]] = {"adam": adam, "rmsprop": rmsprop}
