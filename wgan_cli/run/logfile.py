"""The log of a run: the messages of the command, with times. Importing this does not import torch."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wgan_cli.errors import RunFailedError


@contextmanager
def log_to_file(log: logging.Logger, path: Path) -> Iterator[None]:
    """Append messages, and the error that ends the context, to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    except Exception as error:
        trace = None if isinstance(error, RunFailedError) else sys.exc_info()
        # Only to the file: the command prints the error itself.
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), trace))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()
