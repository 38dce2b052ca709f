"""The log of a run: the messages of the command, with times. Importing this does not import torch."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wgan_cli.errors import RunFailedError


class Backlog(logging.Handler):
    """Keeps the messages of the time before the run's folder exists, for its log.

    Attributes:
        records: The messages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.records.append(record)


@contextmanager
def keep_messages(log: logging.Logger) -> Iterator[None]:
    """Keep messages inside the context until :func:`log_to_file` writes them."""
    backlog = Backlog()
    log.addHandler(backlog)
    try:
        yield
    finally:
        log.removeHandler(backlog)


@contextmanager
def log_to_file(log: logging.Logger, path: Path) -> Iterator[None]:
    """Append messages, earlier ones of :func:`keep_messages`, and the error that ends the context, to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    earlier = [record for backlog in log.handlers if isinstance(backlog, Backlog) for record in backlog.records]
    for record in earlier:
        handler.handle(record)
    log.handlers = [each for each in log.handlers if not isinstance(each, Backlog)] + [handler]
    if any(record.levelno < logging.INFO for record in earlier):
        log.info("the messages above are complete in %s", path)
    try:
        yield
    except Exception as error:
        trace = None if isinstance(error, RunFailedError) else sys.exc_info()
        # Only to the file: the command prints the error itself.
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), trace))
        raise
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # a full disk, which must not hide the error that ends the run
            handler.close()
