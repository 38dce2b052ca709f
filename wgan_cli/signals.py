"""Signals that stop a program: during training they request a stop after the current update, otherwise they end it.

Importing this does not import torch, so that a signal during that import is answered.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C, and what schedulers send before they kill. Not every system has all of them.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
STOPPING = tuple(signal.Signals[name] for name in NAMES if name in signal.Signals.__members__)


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program at once.

    Attributes:
        signal: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


class StopRequest:
    """Whether a signal has requested a stop. There is one instance, because signals belong to the process.

    Attributes:
        signal: The first signal, or None.
        heeded: Whether training is watching for it, and will save and stop.
        raised: The signal that was raised as :class:`Interrupted`, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.heeded = False
        self.raised: signal.Signals | None = None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Record the first signal; raise if nobody heeds it, or if Ctrl-C comes a second time.

        An exception raised here can be swallowed by a Python callback, for example during an import. The recorded
        signal is not, so training then stops as soon as it starts.
        """
        again = self.signal is not None and number == signal.SIGINT
        self.signal = self.signal or signal.Signals(number)
        if again or not self.heeded:
            self.raised = signal.Signals(number)
            raise Interrupted(number)


_request = StopRequest()


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn signals into :class:`Interrupted` inside the context.

    Outside the main thread this does nothing. SIGHUP stays ignored if it is, as under nohup.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == _request.handle:
        yield _request
        return
    caught = [number for number in STOPPING if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN]
    earlier = {number: signal.signal(number, _request.handle) for number in caught}
    try:
        yield _request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        _request.signal = _request.raised = None


@contextmanager
def restore_interrupts() -> Iterator[None]:
    """Raise :class:`Interrupted` again if a library turned it into another error."""
    try:
        yield
    except Exception as error:
        if _request.raised is not None:
            raise Interrupted(_request.raised) from error
        raise


@contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Turn signals into a request, which the code inside the context watches for."""
    with catch_signals() as request:
        before, request.heeded = request.heeded, True
        try:
            yield request
        finally:
            request.heeded = before
