"""When rows, grids, checkpoints and the end are due, as functions of the position alone."""

from dataclasses import dataclass

from wgan_cli.training.schedule import CriticSchedule, Position


@dataclass(frozen=True)
class Cadence:
    """What is due after an update.

    Attributes:
        epochs: Epochs to train at most, or None.
        max_steps: Steps to train at most, or None.
        updates_per_epoch: Critic updates in an epoch.
        schedule: Critic updates before each generator update.
        log_every: Steps between rows of metrics.
        sample_every: Epochs between grids.
        checkpoint_every: Epochs between checkpoints.
    """

    epochs: int | None
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
        return self.steps_finished(position) or self.epochs_finished(position)

    def steps_finished(self, position: Position) -> bool:
        """Return whether ``max_steps`` has been reached."""
        return self.max_steps is not None and position.step >= self.max_steps

    def epochs_finished(self, position: Position) -> bool:
        """Return whether ``epochs`` has been reached. A due generator update still belongs to the last."""
        done = self.epochs is not None and self.epochs_done(position) >= self.epochs
        return done and not self.schedule.generator_is_next(position)

    def sample_due(self, position: Position) -> bool:
        """Return whether a grid is due: every ``sample_every`` epochs, and after the last."""
        return self._epoch_due(position, self.sample_every)

    def checkpoint_due(self, position: Position) -> bool:
        """Return whether an epoch's checkpoint is due: every ``checkpoint_every`` epochs, and after the last."""
        return self._epoch_due(position, self.checkpoint_every)

    @property
    def total_updates(self) -> int | None:
        """Critic updates in the whole run; None if only the time limits it."""
        limits = [] if self.epochs is None else [self.epochs * self.updates_per_epoch]
        limits += [] if self.max_steps is None else [self.schedule.updates_until(self.max_steps)]
        return min(limits, default=None)

    @property
    def total_steps(self) -> int | None:
        """Generator updates in the whole run; None if only the time limits it."""
        return None if self.total_updates is None else self.schedule.steps_in(self.total_updates)

    def _epoch_due(self, position: Position, every: int) -> bool:
        due = self.epochs_done(position) % every == 0 or self.finished(position)
        return due and self.epoch_ended(position)
