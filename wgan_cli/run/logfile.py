"""The log of a run: what the command says, with times. Importing this does not import torch."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wgan_cli.files import whole
from wgan_cli.run.failure import RunFailedError

ROW = "epoch %d  step %d  %s"  # of metrics, as a line
_ROW_IN_FILE = re.compile(r"\S+ \S+ epoch \d+  step \d+  ")  # after the time


@contextmanager
def log_to_file(log: logging.Logger, path: Path, rows: int) -> Iterator[None]:
    """Write what is logged to a file, too.

    Args:
        log: Whose messages.
        path: The file. What an earlier part of the run said stays in it.
        rows: How many rows of metrics stay. Later ones were written after the last checkpoint: the run that goes on
            writes them again.
    """
    if path.exists():
        _keep_rows(path, rows)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    except Exception as error:
        trace = None if isinstance(error, RunFailedError) else sys.exc_info()
        # To the file alone: whoever catches the error says it on the terminal.
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), trace))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def _keep_rows(path: Path, count: int) -> None:
    """Drop all rows of metrics but the first from a log, and what a killed process has not written to its end."""
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        is_row = _ROW_IN_FILE.match(line) is not None
        if line.endswith("\n") and not (is_row and count <= 0):
            kept.append(line)
        count -= is_row
    with whole(path) as partial:
        partial.write_text("".join(kept), encoding="utf-8")
