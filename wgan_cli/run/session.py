"""One run: train, and record what is due after each update."""

import logging
import math
import time
from dataclasses import dataclass
from signal import Signals
from typing import Literal

from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from wgan_cli.data.dataset import DataSpec
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.measures import Measure, TrainingMeans
from wgan_cli.run.progress import open_bar
from wgan_cli.run.recorder import Recorder, minutes_since
from wgan_cli.run.trackers import CsvTracker
from wgan_cli.sampling.pictures import save_png
from wgan_cli.settings import Settings
from wgan_cli.signals import heed_signals
from wgan_cli.training.loop import Algorithm, train
from wgan_cli.training.state import TrainingState

log = logging.getLogger("wgan_cli")

Ending = Literal["finished", "out of time"] | Signals


@dataclass(frozen=True)
class Run:
    """Everything that a run is made of.

    Attributes:
        settings: Every setting in force.
        state: New, or from a checkpoint.
        algorithm: How the state is trained.
        cadence: When outputs are due.
        data: The samples that it is trained on.
        real: A grid of some of them, uint8, (channels, H, W).
        plan: What the run will do, in a few lines.
    """

    settings: Settings
    state: TrainingState
    algorithm: Algorithm
    cadence: Cadence
    data: DataSpec
    real: Tensor
    plan: str


def execute(run: Run, folder: RunFolder) -> Ending:
    """Train to the end, to ``max_minutes``, or until a signal requests a stop, and write everything to disk.

    Args:
        run: Its state is changed in place.
        folder: Exists and is locked. A resumed run finds its earlier files there.

    Returns:
        What ended it.

    Raises:
        RunFailedError: If a loss or a gradient is not finite, or a checkpoint cannot be saved.
        OSError: If another file cannot be written.
    """
    if run.cadence.finished(run.state.position):
        return "finished"
    ending: Ending | None = None
    started = time.monotonic()
    max_minutes = run.settings.max_minutes or math.inf
    measures: list[Measure] = [TrainingMeans()]
    columns = [column for measure in measures for column in measure.columns]
    trackers = [CsvTracker(folder, columns, keep=run.state.rows)]

    bar = open_bar(run.cadence, run.settings.batch_size, run.state.position)
    with heed_signals() as request, logging_redirect_tqdm([log]), bar:
        recorder = Recorder(run.settings, run.cadence, run.data, folder, bar, measures, trackers, run.state)
        folder.film.parent.mkdir(exist_ok=True)
        save_png(run.real, folder.sample("real"))

        def record(state: TrainingState) -> bool:
            nonlocal ending
            recorder.record(state)
            if run.cadence.finished(state.position):
                ending = "finished"
            elif request.signal is not None:
                ending = request.signal
            elif minutes_since(started) >= max_minutes:
                ending = "out of time"
            return ending is not None

        train(run.state, run.algorithm, after_update=record)
        if ending != "finished":
            recorder.record_stop(run.state)
    return ending or "finished"
