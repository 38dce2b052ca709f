"""How far training has come, and how many critic updates precede each generator update."""

from bisect import bisect_right
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Position:
    """How far training has come.

    Attributes:
        step: Generator updates so far.
        critic_updates: Critic updates so far. This is also the position in the real samples.
        critic_updates_in_step: Critic updates since the last generator update. It carries over from epoch to epoch.
    """

    step: int = 0
    critic_updates: int = 0
    critic_updates_in_step: int = 0

    def count_critic_update(self) -> "Position":
        """Return the position after one more critic update."""
        in_step = self.critic_updates_in_step + 1
        return replace(self, critic_updates=self.critic_updates + 1, critic_updates_in_step=in_step)

    def count_step(self) -> "Position":
        """Return the position after one more generator update."""
        return replace(self, step=self.step + 1, critic_updates_in_step=0)


@dataclass(frozen=True)
class CriticSchedule:
    """``n_critic`` critic updates before each generator update, and more while the critic has to catch up.

    Attributes:
        n_critic: The usual number.
        warmup_updates: The number in a warm-up step.
        warmup_steps: How many of the first steps are warm-up steps.
        warmup_every: Steps whose number, counted from 0, is a multiple of this are warm-up steps as well.

    Source: the WGAN authors' main.py makes 100 updates in the first 25 steps and in every 500th.
    """

    n_critic: int
    warmup_updates: int = 0
    warmup_steps: int = 0
    warmup_every: int | None = None

    def generator_is_next(self, position: Position) -> bool:
        """Return whether the next update is the generator's."""
        return position.critic_updates_in_step >= self.updates_in(position.step)

    def updates_in(self, step: int) -> int:
        """Return the number of critic updates in a step, counted from 0."""
        warms_up = step < self.warmup_steps or (self.warmup_every is not None and step % self.warmup_every == 0)
        return self.warmup_updates if warms_up else self.n_critic

    def updates_until(self, step: int) -> int:
        """Return the number of critic updates in all steps before this one."""
        warm = min(step, self.warmup_steps)
        if self.warmup_every is not None:
            warm += _count_multiples(self.warmup_every, step) - _count_multiples(self.warmup_every, warm)
        return warm * self.warmup_updates + (step - warm) * self.n_critic

    def steps_in(self, updates: int) -> int:
        """Return how many complete steps a number of critic updates makes."""
        return bisect_right(range(updates + 1), updates, key=self.updates_until) - 1

    def can_reach(self, position: Position) -> bool:
        """Return whether training with this schedule passes through the position."""
        return position.critic_updates == self.updates_until(
            position.step
        ) + position.critic_updates_in_step and position.critic_updates_in_step <= self.updates_in(position.step)


def _count_multiples(of: int, below: int) -> int:
    """Count the multiples of ``of`` from 0 to ``below`` − 1."""
    return -(-below // of)
