"""When things are due: rows, grids, checkpoints and the end, as functions of the state alone."""

from dataclasses import dataclass
from typing import Protocol

from wgan_cli.training.schedule import CriticSchedule


class Position(Protocol):
    """How far training has come; see ``TrainingState``."""

    @property
    def step(self) -> int:
        """Generator updates so far."""

    @property
    def critic_updates(self) -> int:
        """Critic updates so far."""

    @property
    def critic_updates_in_step(self) -> int:
        """Critic updates since the last generator update."""


@dataclass(frozen=True)
class Cadence:
    """What is due after an update.

    Attributes:
        epochs: Epochs to train.
        max_steps: Steps to train at most, or None.
        updates_per_epoch: Critic updates in an epoch.
        schedule: Critic updates before each generator update.
        log_every: Steps between rows of metrics.
        sample_every: Epochs between grids.
        checkpoint_every: Epochs between checkpoints.
    """

    epochs: int
    max_steps: int | None
    updates_per_epoch: int
    schedule: CriticSchedule
    log_every: int
    sample_every: int
    checkpoint_every: int

    def row_due(self, state: Position) -> bool:
        """Say whether the last update ended a stretch of ``log_every`` steps."""
        return state.critic_updates_in_step == 0 and state.step > 0 and state.step % self.log_every == 0

    def epoch_ended(self, state: Position) -> bool:
        """Say whether the last update ended an epoch."""
        return (
            state.critic_updates > 0
            and state.critic_updates % self.updates_per_epoch == 0
            and not self._step_due(state)
        )

    def epochs_done(self, state: Position) -> int:
        """Return how many epochs have ended."""
        return state.critic_updates // self.updates_per_epoch

    def epoch(self, state: Position) -> int:
        """Return the epoch, counted from 1, that the last critic update was in."""
        return max(1, -(-state.critic_updates // self.updates_per_epoch))

    def finished(self, state: Position) -> bool:
        """Say whether training has reached its end."""
        if self.max_steps is not None and state.step >= self.max_steps:
            return True
        return self.epochs_done(state) >= self.epochs and not self._step_due(state)

    def sample_due(self, state: Position) -> bool:
        """Say whether a grid is due: every ``sample_every`` epochs, and at the end of the last."""
        return self._epoch_due(state, self.sample_every)

    def checkpoint_due(self, state: Position) -> bool:
        """Say whether an epoch's checkpoint is due: every ``checkpoint_every`` epochs, and at the end of the last."""
        return self._epoch_due(state, self.checkpoint_every)

    @property
    def total_updates(self) -> int:
        """Critic updates until the end."""
        updates = self.epochs * self.updates_per_epoch
        return updates if self.max_steps is None else min(updates, self.schedule.updates_until(self.max_steps))

    @property
    def total_steps(self) -> int:
        """Generator updates until the end."""
        return self.schedule.steps_in(self.total_updates)

    def _epoch_due(self, state: Position, every: int) -> bool:
        return self.epoch_ended(state) and (self.epochs_done(state) % every == 0 or self.finished(state))

    def _step_due(self, state: Position) -> bool:
        """Say whether a generator update comes next: one that is due when the images run out is still the epoch's."""
        return state.critic_updates_in_step == self.schedule.updates_in(state.step)
