"""Ctrl-C and SIGTERM: while training they ask for a stop after the update under way, else they end the program.

Importing this does not import torch: a signal may come while that is still going on.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program at once.

    Attributes:
        signal: Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = signal.Signals(number)


class StopRequest:
    """Whether a stop was asked for, and by which signal. There is one, as signals are the process's.

    Attributes:
        signal: The first that came.
        heeded: Whether somebody looks at it, and stops when all is saved.
        raised: The one that was to end the program.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.heeded = False
        self.raised: signal.Signals | None = None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Note the first signal; end the program if nobody heeds it, or if Ctrl-C comes a second time.

        An exception that is raised here is lost where it meets one of Python's callbacks, of which an import is full.
        The note is not: training then stops as soon as it has begun.
        """
        again = self.signal is not None and number == signal.SIGINT
        self.signal = self.signal or signal.Signals(number)
        if again or not self.heeded:
            self.raised = signal.Signals(number)
            raise Interrupted(number)


_request = StopRequest()


@contextmanager
def caught_signals() -> Iterator[StopRequest]:
    """Turn signals into :class:`Interrupted` while the context lasts (in the main thread; elsewhere they cannot be)."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == _request.handle:
        yield _request
        return
    earlier = {number: signal.signal(number, _request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield _request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        _request.signal = _request.raised = None


@contextmanager
def interruptions_kept() -> Iterator[None]:
    """Let a signal end the program also where a library that it met raised an error of its own instead."""
    try:
        yield
    except Exception as error:
        if _request.raised is not None:
            raise Interrupted(_request.raised) from error
        raise


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn signals into a request, which is to be heeded while the context lasts."""
    with caught_signals() as request:
        before, request.heeded = request.heeded, True
        try:
            yield request
        finally:
            request.heeded = before
