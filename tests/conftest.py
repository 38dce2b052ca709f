import logging
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Let no test depend on what ran before it: one thread, and the global random stream at its beginning."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _keep_log() -> Iterator[None]:
    """The commands configure the package's log, also when a test calls them in its own process."""
    log = logging.getLogger("wgan_cli")
    before = log.handlers, log.propagate, log.level
    yield
    log.handlers, log.propagate = before[:2]
    log.setLevel(before[2])
