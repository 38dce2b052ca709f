"""Tables of numbers, as CSV files."""

import csv
import io
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from wgan_cli.files import atomic_write, name_in_errors

log = logging.getLogger(__name__)


class Table:
    """A CSV file with a header, to which rows are added. A row is on disk when :meth:`add` returns.

    Args:
        path: The file. Everything but its first ``keep`` rows is replaced.
        columns: The header.
        keep: Rows to keep from an earlier part of the run. A killed process may have written more; the resumed run
            writes those again.
    """

    def __init__(self, path: Path, columns: Iterable[str], keep: int = 0) -> None:
        kept: list[str] = []
        if keep and path.is_file():
            kept = path.read_text(encoding="utf-8", errors="replace").splitlines()[1 : keep + 1]
        if len(kept) < keep:
            log.warning("%s lacks %d earlier rows, which cannot be restored", path, keep - len(kept))
        self._path = path
        self._columns = tuple(columns)
        with atomic_write(path) as partial:
            partial.write_text("\n".join([",".join(self._columns), *kept, ""]), encoding="utf-8")

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row. A column that it lacks stays empty."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([row.get(column, "") for column in self._columns])
        with name_in_errors(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())


def read_last_row(path: Path) -> dict[str, float]:
    """Return the last row of a table without its empty fields, or an empty dict if there is none."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        return {}
    return {name: float(value) for name, value in rows[-1].items() if value} if rows else {}
