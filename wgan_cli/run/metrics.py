"""Tables of numbers by step, as CSV."""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path

from wgan_cli.files import naming, whole
from wgan_cli.training.state import MEANS

log = logging.getLogger(__name__)

METRICS = ("step", "epoch", "critic_updates", *MEANS)
TIMING = ("step", "epoch", "critic_updates", "seconds", "images_per_second")


class Table:
    """A CSV file with a header, to which rows are added; each is on disk when :meth:`add` returns.

    Args:
        path: The file. Its first ``keep`` rows stay, and all else in it is replaced.
        columns: The header.
        keep: Rows of an earlier part of the run. Later ones were written after its last checkpoint: the run that goes
            on writes them again.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int = 0) -> None:
        kept: list[str] = []
        if keep and path.is_file():
            kept = path.read_text(encoding="utf-8", errors="replace").splitlines()[1 : keep + 1]
        if len(kept) < keep:
            log.warning("%s lacks %d earlier rows, and they are not made again", path, keep - len(kept))
        self._path = path
        self._columns = columns
        with whole(path) as partial:
            partial.write_text("\n".join([",".join(columns), *kept, ""]), encoding="utf-8")

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row; a column that it lacks stays empty."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([row.get(column, "") for column in self._columns])
        with naming(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
