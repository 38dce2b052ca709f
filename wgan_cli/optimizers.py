"""The optimizers: torch's own, one for the generator and one for the critic."""

from collections.abc import Callable
from typing import Annotated

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop

from wgan_cli.parameters import Range

Rate = Annotated[float, Range(above=0)]
Decay = Annotated[float, Range(0, below=1)]


def rmsprop(
    generator: nn.Module,
    critic: nn.Module,
    learning_rate: Rate = 5e-5,
    critic_learning_rate: Rate | None = None,
    alpha: Decay = 0.99,
    eps: Rate = 1e-8,
) -> tuple[Optimizer, Optimizer]:
    """RMSprop, as the WGAN paper uses it: no momentum, which a clipped critic takes badly.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        learning_rate: Of both, unless the critic has its own.
        critic_learning_rate: The critic's, where it is not null.
        alpha: Decay of the running mean of squared gradients.
        eps: Added to the root of that mean.

    Returns:
        The generator's and the critic's optimizer.
    """
    return (
        RMSprop(generator.parameters(), learning_rate, alpha, eps, foreach=True),
        RMSprop(critic.parameters(), critic_learning_rate or learning_rate, alpha, eps, foreach=True),
    )


def adam(
    generator: nn.Module,
    critic: nn.Module,
    learning_rate: Rate = 2e-4,
    critic_learning_rate: Rate | None = None,
    betas: tuple[Decay, Decay] = (0.5, 0.999),
    eps: Rate = 1e-8,
) -> tuple[Optimizer, Optimizer]:
    """Adam.

    Args:
        generator: Has parameters.
        critic: Has parameters.
        learning_rate: Of both, unless the critic has its own.
        critic_learning_rate: The critic's, where it is not null.
        betas: Decays of the running means of gradients and of their squares.
        eps: Added to the root of the latter.

    Returns:
        The generator's and the critic's optimizer.
    """
    return (
        Adam(generator.parameters(), learning_rate, betas, eps, fused=True),
        Adam(critic.parameters(), critic_learning_rate or learning_rate, betas, eps, fused=True),
    )


OPTIMIZERS: dict[str, Callable[..., tuple[Optimizer, Optimizer]]] = {"adam": adam, "rmsprop": rmsprop}
