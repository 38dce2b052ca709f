"""How many critic updates come before each generator update."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class CriticSchedule:
    """``n_critic`` updates before each generator update, and more of them while the critic has to catch up.

    Attributes:
        n_critic: The usual number.
        warmup_updates: The number in the first steps, and now and then after them.
        warmup_steps: How many first steps.
        warmup_every: Each step whose number (counted from 0) is a multiple of it warms up as well; None: none does.

    Source: the WGAN authors' main.py has 100 updates in the first 25 steps and in every 500th.
    """

    n_critic: int
    warmup_updates: int = 0
    warmup_steps: int = 0
    warmup_every: int | None = None

    def updates_in(self, step: int) -> int:
        """Return the critic updates in a step, counted from 0."""
        warms = step < self.warmup_steps or (self.warmup_every is not None and step % self.warmup_every == 0)
        return self.warmup_updates if warms else self.n_critic

    def updates_until(self, step: int) -> int:
        """Return the critic updates in all steps before this one."""
        warm = min(step, self.warmup_steps)
        if self.warmup_every is not None:
            warm += _multiples(self.warmup_every, step) - _multiples(self.warmup_every, warm)
        return warm * self.warmup_updates + (step - warm) * self.n_critic

    def steps_in(self, updates: int) -> int:
        """Return how many whole steps so many critic updates make."""
        return bisect_right(range(updates + 1), updates, key=self.updates_until) - 1


def _multiples(of: int, below: int) -> int:
    """Count the multiples of a number from 0 up."""
    return -(-below // of)
