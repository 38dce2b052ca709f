"""One run: train, and after each update write what is due."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Literal

from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from wgan_cli.images import grid, read_pictures, save_gif, save_png
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import Checkpoint, Images, link_checkpoint, save_checkpoint
from wgan_cli.run.failure import RunFailedError, failures
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.interrupts import StopRequest, stop_requests
from wgan_cli.run.logfile import ROW
from wgan_cli.run.metrics import METRICS, TIMING, Table
from wgan_cli.sampling import sample_grid
from wgan_cli.training.loop import Rules, train
from wgan_cli.training.state import TrainingState

log = logging.getLogger("wgan_cli")

# The film of a run: at most so many frames, spread over its epochs, of so many pixels a side; how long each is shown,
# and how much longer the last.
FRAMES, FRAME_SIDE = 100, 1024
FRAME_MILLISECONDS, HOLD_MILLISECONDS = 250, 2000


@dataclass(frozen=True)
class Run:
    """All that a run is made of.

    Attributes:
        config: Every setting in force, as plain data, for the checkpoints.
        state: Fresh, or from a checkpoint.
        rules: What it is trained by.
        cadence: What is due when.
        batch_size: Images in a critic update.
        max_minutes: How long this process may train, or None.
        save_minutes: After so many the state is saved between epochs, too; None: never.
        keep: How many of the epochs' checkpoints stay; None: all.
        seed: Of the grids' latents, too.
        images: What is known of those that it is trained on.
        real: Some training images to show, uint8, (at most 64, channels, height, width).
        plan: What is going to happen, in a few lines.
    """

    config: dict[str, Any]
    state: TrainingState
    rules: Rules
    cadence: Cadence
    batch_size: int
    max_minutes: float | None
    save_minutes: float | None
    keep: int | None
    seed: int
    images: Images
    real: Tensor
    plan: str


Ending = Literal["finished", "out of time"] | Signals


def execute(run: Run, folder: RunFolder) -> Ending:
    """Train to the end, to ``max_minutes``, or until a signal asks for a stop, and leave everything on disk.

    Args:
        run: Its state is changed in place.
        folder: Must exist, and be nobody else's. A run that goes on finds its own earlier files there.

    Returns:
        What ended it.

    Raises:
        RunFailedError: If it could not go on. The last good checkpoint is named.
    """
    if run.cadence.finished(run.state):
        return "finished"
    with failures(run.config, folder.last_checkpoint), stop_requests() as request, _progress_bar(run) as bar:
        # The folder may be gone where a run goes on: the checkpoint is enough.
        for place in (folder.last_checkpoint, folder.film):
            place.parent.mkdir(exist_ok=True)
        if not folder.last_checkpoint.exists():
            save(run, folder.last_checkpoint)  # first of all: from then on the run can go on
        recorder = Recorder(run, folder, bar, request)
        save_png(grid(run.real), folder.sample("real"))
        train(run.state, run.rules, recorder.after_update)
        recorder.finish()
    return recorder.ending or "finished"


def save(run: Run, path: Path) -> None:
    """Write a checkpoint of a run as it stands."""
    save_checkpoint(path, Checkpoint(run.config, run.images, run.state.state_dict()))


class Recorder:
    """Looks at the state after each update and writes what is due.

    What it writes of the end of training is on disk before the state is saved that says so, so that a process that is
    killed leaves either all of it or a state from which all of it is made again.
    """

    def __init__(self, run: Run, folder: RunFolder, bar: "tqdm[Any]", request: StopRequest) -> None:
        self.ending: Ending | None = None
        self._run = run
        self._folder = folder
        self._bar = bar
        self._request = request
        self._metrics = Table(folder.metrics, METRICS, keep=run.state.rows)
        self._timing = Table(folder.timing, TIMING, keep=run.state.rows)
        self._began = self._row_began = self._saved = time.monotonic()
        self._row_updates = run.state.critic_updates

    def after_update(self, state: TrainingState) -> bool:
        """Write what is due; return whether to stop."""
        cadence = self._run.cadence
        finished = cadence.finished(state)
        save_now = _minutes_since(self._saved) >= (self._run.save_minutes or math.inf)
        if finished or save_now or cadence.row_due(state) or cadence.epoch_ended(state):
            self._require_finite(state)
        self._bar.update(state.critic_updates * self._run.batch_size - self._bar.n)

        if cadence.row_due(state):
            self._write_row(state)
            state.rows += 1
            state.means.reset()
        elif finished:
            self._write_row(state)  # not counted, and the means stay: a run that goes on writes the whole row later

        if cadence.sample_due(state):
            self._save_grid(f"epoch_{cadence.epochs_done(state):04d}")
            self._folder.sample("last").unlink(missing_ok=True)
        elif finished:
            self._save_grid("last")
        if finished:
            self._save_film()

        if cadence.checkpoint_due(state):
            path = self._folder.epoch_checkpoint(cadence.epochs_done(state))
            self._save(path)
            self._folder.keep_epochs(self._run.keep)
            link_checkpoint(path, self._folder.last_checkpoint)  # after it: once that is the end's, all is done
        elif finished or save_now:
            self._save(self._folder.last_checkpoint)
        self.ending = "finished" if finished else self._stop()
        return self.ending is not None

    def finish(self) -> None:
        """Write what a run that was stopped leaves, if the last update has not done it; the state first."""
        state = self._run.state
        if self.ending == "finished":
            return
        if not self._run.cadence.checkpoint_due(state):
            self._require_finite(state)
            self._save(self._folder.last_checkpoint)
        if not self._run.cadence.sample_due(state):
            self._save_grid("last")
        self._save_film()

    def _stop(self) -> Ending | None:
        """Say what asks for a stop before the end, if anything does."""
        if self._request.signal is not None:
            return self._request.signal
        return "out of time" if _minutes_since(self._began) >= (self._run.max_minutes or math.inf) else None

    def _write_row(self, state: TrainingState) -> None:
        now = time.monotonic()
        images = (state.critic_updates - self._row_updates) * self._run.batch_size
        rate = images / (now - self._row_began)  # 0 where a run went on between the critic's and the generator's update
        at = {
            "step": state.step,
            "epoch": self._run.cadence.epoch(state),
            "critic_updates": state.critic_updates,
        }
        means = state.means.read()
        self._metrics.add(at | means)
        seconds = {"seconds": round(now - self._began, 3)}
        self._timing.add(at | seconds | ({"images_per_second": round(rate, 1)} if rate else {}))
        self._row_began, self._row_updates = now, state.critic_updates
        self._bar.set_postfix({_SHORT[name]: f"{value:.3g}" for name, value in means.items()})
        values = [f"{name} {value:.4g}" for name, value in means.items()]
        if rate:
            left = (self._run.cadence.total_updates - state.critic_updates) * self._run.batch_size / rate
            values += [f"{rate:.0f} images/s", f"{tqdm.format_interval(left)} left"]
        log.log(logging.INFO if self._bar.disable else logging.DEBUG, ROW, at["epoch"], state.step, "  ".join(values))

    def _save_grid(self, name: str) -> None:
        run = self._run
        save_png(sample_grid(run.state.sampler, run.seed), self._folder.sample(name))

    def _save_film(self) -> None:
        """Show the grids of the epochs one after the other; they are on disk, those of a stopped run as well."""
        grids = self._folder.epoch_samples()
        shown = grids[:: -(-len(grids) // FRAMES)] if grids else []
        if frames := read_pictures(dict.fromkeys([*shown, *grids[-1:]]), FRAME_SIDE):
            save_gif(frames, self._folder.film, FRAME_MILLISECONDS, HOLD_MILLISECONDS)

    def _save(self, path: Path) -> None:
        save(self._run, path)
        self._saved = time.monotonic()

    def _require_finite(self, state: TrainingState) -> None:
        """Ask the device whether any update so far was masked.

        Raises:
            RunFailedError: If so; nothing of the state is written any more.
        """
        failed = int(state.failed_step)
        if failed >= 0:
            raise RunFailedError(
                f"in step {failed} a loss or a gradient was not finite; the weights were left as they were before. "
                "Try a lower optimizer.learning_rate, a constraint, or precision=fp32."
            )


def _minutes_since(moment: float) -> float:
    return (time.monotonic() - moment) / 60


_SHORT = {"critic_loss": "critic", "generator_loss": "generator", "penalty": "penalty", "wasserstein_estimate": "W"}


@contextmanager
def _progress_bar(run: Run) -> Iterator["tqdm[Any]"]:
    """Show a bar on a terminal, and nothing elsewhere."""
    batch = run.batch_size
    done, total = run.state.critic_updates * batch, run.cadence.total_updates * batch
    with (
        logging_redirect_tqdm([log]),
        tqdm(total=total, initial=done, unit="images", unit_scale=True, disable=None, dynamic_ncols=True) as bar,
    ):
        yield bar
