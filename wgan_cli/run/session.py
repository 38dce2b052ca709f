"""One run: train, and after each update write what is due."""

import logging
import time
from collections.abc import Iterator, Mapping
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
from wgan_cli.run.checkpoints import link_checkpoint, save_checkpoint
from wgan_cli.run.failure import RunFailedError, failures
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.interrupts import StopRequest, stop_requests
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
        seed: Of the grids' latents, too.
        real: Some training images to show, uint8, (at most 64, channels, height, width).
        plan: What is going to happen, in a few lines.
    """

    config: Mapping[str, Any]
    state: TrainingState
    rules: Rules
    cadence: Cadence
    batch_size: int
    max_minutes: float | None
    seed: int
    real: Tensor
    plan: str


Ending = Literal["finished", "out of time"] | Signals


def execute(run: Run, folder: RunFolder) -> Ending:
    """Train to the end, to ``max_minutes``, or until a signal asks for a stop, and leave everything on disk.

    Args:
        run: Its state is changed in place.
        folder: Must exist. A run that goes on finds its own earlier files there.

    Returns:
        What ended it.

    Raises:
        RunFailedError: If it could not go on. The last good checkpoint is named.
    """
    if run.cadence.finished(run.state):
        return "finished"
    with failures(folder.last_checkpoint), stop_requests() as request, _progress_bar(run) as bar:
        # The folder may be gone where a run goes on: the checkpoint is enough.
        folder.sample("real").parent.mkdir(exist_ok=True)
        save_png(grid(run.real), folder.sample("real"))
        recorder = Recorder(run, folder, bar, request)
        train(run.state, run.rules, recorder.after_update)
        recorder.finish()
    return recorder.ending or "finished"


class Recorder:
    """Looks at the state after each update and writes what is due."""

    def __init__(self, run: Run, folder: RunFolder, bar: "tqdm[Any]", request: StopRequest) -> None:
        self.ending: Ending | None = None
        self._run = run
        self._folder = folder
        self._bar = bar
        self._request = request
        self._metrics = Table(folder.metrics, METRICS, keep=run.state.rows)
        self._timing = Table(folder.timing, TIMING, keep=run.state.rows)
        self._began = self._row_began = time.monotonic()
        self._row_updates = run.state.critic_updates

    def after_update(self, state: TrainingState) -> bool:
        """Write what is due; return whether to stop."""
        cadence = self._run.cadence
        if cadence.row_due(state) or cadence.epoch_ended(state):
            self._require_finite(state)
        self._bar.update(state.critic_updates * self._run.batch_size - self._bar.n)
        if cadence.row_due(state):
            self._write_row(state)
            state.rows += 1
            state.means.reset()
        if cadence.sample_due(state):
            self._save_grid(f"epoch_{cadence.epochs_done(state):04d}")
            self._folder.sample("last").unlink(missing_ok=True)
        if cadence.checkpoint_due(state):
            path = self._folder.epoch_checkpoint(cadence.epochs_done(state))
            self._save(path)
            link_checkpoint(path, self._folder.last_checkpoint)
        self.ending = self._ending(state)
        return self.ending is not None

    def finish(self) -> None:
        """Write the newest state, if that has not been done, and the last row if this was the end of training."""
        state = self._run.state
        self._require_finite(state)
        if self.ending == "finished" and not self._run.cadence.row_due(state):
            self._write_row(state)  # not counted, and the means stay: a run that goes on writes the whole row later
        if not self._run.cadence.checkpoint_due(state):
            self._save(self._folder.last_checkpoint)
        if not self._run.cadence.sample_due(state):
            self._save_grid("last")
        self._save_film()

    def _ending(self, state: TrainingState) -> Ending | None:
        if self._run.cadence.finished(state):
            return "finished"
        if self._request.signal is not None:
            return self._request.signal
        minutes = (time.monotonic() - self._began) / 60
        return "out of time" if self._run.max_minutes is not None and minutes >= self._run.max_minutes else None

    def _write_row(self, state: TrainingState) -> None:
        now = time.monotonic()
        images = (state.critic_updates - self._row_updates) * self._run.batch_size
        rate = images / (now - self._row_began)
        at = {
            "step": state.step,
            "epoch": self._run.cadence.epoch(state),
            "critic_updates": state.critic_updates,
        }
        means = state.means.read()
        self._metrics.add(at | means)
        self._timing.add(at | {"seconds": round(now - self._began, 3), "images_per_second": round(rate, 1)})
        self._row_began, self._row_updates = now, state.critic_updates
        self._bar.set_postfix({_SHORT[name]: f"{value:.3g}" for name, value in means.items()})
        left = (self._run.cadence.total_updates - state.critic_updates) * self._run.batch_size / max(rate, 1e-9)
        values = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        log.log(
            logging.INFO if self._bar.disable else logging.DEBUG,
            "epoch %d  step %d  %s  %.0f images/s  %s left",
            *(at["epoch"], state.step, values, rate, tqdm.format_interval(left)),
        )

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
        channels, height, width = self._run.real.shape[1:]
        state = self._run.state
        shape = channels, height, width
        save_checkpoint(path, self._run.config, shape, state.generator.num_classes, state.state_dict())

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
