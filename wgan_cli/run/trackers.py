"""Where the numbers of a run are written."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from wgan_cli.run.folder import RunFolder
from wgan_cli.run.tables import Table


@dataclass(frozen=True)
class Row:
    """The numbers of one moment.

    Attributes:
        step: Generator updates so far.
        epoch: The current epoch, counted from 1.
        critic_updates: Critic updates so far.
    """

    step: int
    epoch: int
    critic_updates: int


class Tracker(Protocol):
    """Receives the numbers of a run. A resumed run repeats the rows that a killed process wrote after its last save."""

    def write_row(self, row: Row, measured: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Write one row: what was measured, which is reproducible, and times and rates, which are not."""


class CsvTracker:
    """Writes metrics.csv and timing.csv.

    Args:
        folder: The run's.
        columns: What is measured.
        keep: Rows to keep from an earlier part of the run.
    """

    def __init__(self, folder: RunFolder, columns: Iterable[str], keep: int) -> None:
        at = tuple(Row.__dataclass_fields__)
        self._metrics = Table(folder.metrics, (*at, *columns), keep)
        self._timing = Table(folder.timing, (*at, "seconds", "images_per_second"), keep)

    def write_row(self, row: Row, measured: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Write a row into each table."""
        at = asdict(row)
        self._metrics.add(at | dict(measured))
        self._timing.add(at | dict(timing))
