"""When rows, grids, checkpoints and the end are due, as functions of the position alone."""

from dataclasses import dataclass

from wgan_cli.training.schedule import CriticSchedule, Position


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

    def row_due(self, position: Position) -> bool:
        """Return whether a row is due: every ``log_every`` steps."""
        return position.critic_updates_in_step == 0 and position.step > 0 and position.step % self.log_every == 0

    def epoch_ended(self, position: Position) -> bool:
        """Return whether the last update ended an epoch. A due generator update still belongs to it."""
        updates = position.critic_updates
        return updates > 0 and updates % self.updates_per_epoch == 0 and not self.schedule.generator_is_next(position)

    def epochs_done(self, position: Position) -> int:
        """Return the number of epochs that have ended."""
        return position.critic_updates // self.updates_per_epoch

    def epoch(self, position: Position) -> int:
        """Return the epoch, counted from 1, of the last critic update."""
        return max(1, -(-position.critic_updates // self.updates_per_epoch))

    def finished(self, position: Position) -> bool:
        """Return whether training has reached its end."""
        if self.max_steps is not None and position.step >= self.max_steps:
            return True
        return self.epochs_done(position) >= self.epochs and not self.schedule.generator_is_next(position)

    def sample_due(self, position: Position) -> bool:
        """Return whether a grid is due: every ``sample_every`` epochs, and after the last."""
        return self._epoch_due(position, self.sample_every)

    def checkpoint_due(self, position: Position) -> bool:
        """Return whether an epoch's checkpoint is due: every ``checkpoint_every`` epochs, and after the last."""
        return self._epoch_due(position, self.checkpoint_every)

    @property
    def total_updates(self) -> int:
        """Critic updates in the whole run."""
        updates = self.epochs * self.updates_per_epoch
        return updates if self.max_steps is None else min(updates, self.schedule.updates_until(self.max_steps))

    @property
    def total_steps(self) -> int:
        """Generator updates in the whole run."""
        return self.schedule.steps_in(self.total_updates)

    def _epoch_due(self, position: Position, every: int) -> bool:
        due = self.epochs_done(position) % every == 0 or self.finished(position)
        return due and self.epoch_ended(position)
