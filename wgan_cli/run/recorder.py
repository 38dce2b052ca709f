"""Writes what is due after each update: rows of numbers, grids, the film, and checkpoints."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from wgan_cli.data.dataset import DataSpec
from wgan_cli.errors import RunFailedError
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import Checkpoint, link_checkpoint, save_checkpoint
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.measures import Measure
from wgan_cli.run.progress import advance_bar, format_numbers, show_numbers
from wgan_cli.run.trackers import Row, Tracker
from wgan_cli.sampling.draw import draw_grid
from wgan_cli.sampling.pictures import read_pictures, save_gif, save_png
from wgan_cli.settings import Settings, select_storable
from wgan_cli.training.state import TrainingState

log = logging.getLogger("wgan_cli")

# Limits of the film: frames, spread over the epochs, and pixels a side.
FRAMES, FRAME_SIDE = 100, 1024
FRAME_MILLISECONDS, HOLD_MILLISECONDS = 250, 2000  # how long each frame is shown, and the last one in addition


class Recorder:
    """Writes what is due into a run's folder.

    Final outputs are written before the checkpoint that marks training as finished. A killed process therefore leaves
    either all of them or a checkpoint from which they are recreated.

    Args:
        settings: The run's.
        cadence: When outputs are due.
        data: The samples that the run is trained on.
        folder: The run's.
        bar: Shows the progress; disabled unless there is a terminal.
        measures: What a row contains.
        trackers: Where rows are written.
        state: At the start of this process.
    """

    def __init__(
        self,
        settings: Settings,
        cadence: Cadence,
        data: DataSpec,
        folder: RunFolder,
        bar: "tqdm[Any]",
        measures: Sequence[Measure],
        trackers: Sequence[Tracker],
        state: TrainingState,
    ) -> None:
        self._settings, self._cadence, self._data, self._folder = settings, cadence, data, folder
        self._bar, self._measures, self._trackers = bar, measures, trackers
        self._config = select_storable(settings)
        self._started = self._row_started = self._saved = time.monotonic()
        self._row_updates = state.position.critic_updates
        if not folder.last_checkpoint.exists():
            self.save(state, folder.last_checkpoint)  # first, so that the run can be resumed from now on

    def record(self, state: TrainingState) -> None:
        """Write what is due after the last update.

        Raises:
            RunFailedError: If a loss or a gradient was not finite. The state is then not written.
        """
        cadence, folder, position = self._cadence, self._folder, state.position
        finished = cadence.finished(position)
        save_now = minutes_since(self._saved) >= (self._settings.checkpoint.every_minutes or math.inf)
        if finished or save_now or cadence.row_due(position) or cadence.epoch_ended(position):
            require_finite(state)
        advance_bar(self._bar, cadence, self._settings.batch_size, position)

        if cadence.row_due(position):
            self._write_row(state)
            state.rows += 1
            state.means.reset()
        elif finished:
            self._write_row(state)  # not counted, and the means stay: a longer run writes the complete row later

        if cadence.sample_due(position):
            self._save_grid(state, f"epoch_{cadence.epochs_done(position):04d}")
            folder.sample("last").unlink(missing_ok=True)
        elif finished:
            self._save_grid(state, "last")
        if finished:
            self._save_film()

        if cadence.checkpoint_due(position):
            path = folder.epoch_checkpoint(cadence.epochs_done(position))
            self.save(state, path)
            folder.keep_epochs(self._settings.checkpoint.keep)
            link_checkpoint(path, folder.last_checkpoint)  # last: it marks training as finished
        elif finished or save_now:
            self.save(state, folder.last_checkpoint)

    def record_stop(self, state: TrainingState) -> None:
        """Write the outputs of a run that stops early, the state first."""
        if not self._cadence.checkpoint_due(state.position):
            require_finite(state)
            self.save(state, self._folder.last_checkpoint)
        if not self._cadence.sample_due(state.position):
            self._save_grid(state, "last")
        self._save_film()

    def save(self, state: TrainingState, path: Path) -> None:
        """Write a checkpoint of the state."""
        save_checkpoint(path, Checkpoint(self._config, self._data, state.counts(), state.tensors()))
        self._saved = time.monotonic()

    def _write_row(self, state: TrainingState) -> None:
        now, position = time.monotonic(), state.position
        row = Row(position.step, self._cadence.epoch(position), position.critic_updates)
        measured = {name: value for measure in self._measures for name, value in measure.read(state).items()}
        images = (position.critic_updates - self._row_updates) * self._settings.batch_size
        rate = images / (now - self._row_started)  # 0 if the run was resumed just before the generator's update
        timing = {"seconds": round(now - self._started, 3)}
        if rate:
            timing["images_per_second"] = round(rate, 1)
        for tracker in self._trackers:
            tracker.write_row(row, measured, timing)
        self._row_started, self._row_updates = now, position.critic_updates
        self._show_row(row, measured, rate)

    def _show_row(self, row: Row, measured: dict[str, float], rate: float) -> None:
        """Show a row beside the bar, or as a line if there is no bar; the log file has the line in any case."""
        show_numbers(self._bar, measured)
        values = list(format_numbers(measured, digits=4).values())
        if rate:
            values.append(f"{rate:.0f} images/s")
        if rate and self._cadence.total_updates is not None:
            left = (self._cadence.total_updates - row.critic_updates) * self._settings.batch_size / rate
            values.append(f"{tqdm.format_interval(left)} left")
        level = logging.INFO if self._bar.disable else logging.DEBUG
        log.log(level, "epoch %d  step %d  %s", row.epoch, row.step, "  ".join(values))

    def _save_grid(self, state: TrainingState, name: str) -> None:
        save_png(draw_grid(state.sampler, self._settings.seed), self._folder.sample(name))

    def _save_film(self) -> None:
        """Show the grids of the epochs in sequence, including those of earlier parts of the run."""
        grids = self._folder.epoch_samples()
        shown = grids[:: -(-len(grids) // FRAMES)] if grids else []
        if frames := read_pictures(dict.fromkeys([*shown, *grids[-1:]]), FRAME_SIDE):
            save_gif(frames, self._folder.film, FRAME_MILLISECONDS, HOLD_MILLISECONDS)


def minutes_since(moment: float) -> float:
    """Return the minutes since a moment of the monotonic clock."""
    return (time.monotonic() - moment) / 60


def require_finite(state: TrainingState) -> None:
    """Ask the device whether any update so far was masked.

    Raises:
        RunFailedError: If so.
    """
    failed = int(state.failed_step)
    if failed >= 0:
        raise RunFailedError(
            f"in step {failed} a loss or a gradient was not finite; the weights stayed as they were before. "
            "Try a lower optimizer.learning_rate, a constraint, or precision=fp32."
        )
