"""What may happen to a process while it trains, made to happen at a chosen moment: in that process, by the real thing.

Each fault is called in the process before its command begins. It writes down where it struck.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException

from wgan_cli.run import session
from wgan_cli.training.state import TrainingState

# The operations on files that Python tells of, as far as they change something.
OPERATIONS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def send(numbers: Sequence[int]) -> None:
    """Send this process signals, one after the other."""
    for number in numbers:
        os.kill(os.getpid(), number)


def at_update(count: int, strike: Callable[[TrainingState], None]) -> None:
    """Strike after so many updates of either player, before anything of them is written."""
    usual = session.Recorder.after_update
    updates = 0

    def after_update(self: session.Recorder, state: TrainingState) -> bool:
        nonlocal updates
        updates += 1
        if updates == count:
            strike(state)
        return usual(self, state)

    session.Recorder.after_update = after_update  # type: ignore[method-assign]


@dataclass(frozen=True)
class SignalsAtUpdate:
    """Signals after so many updates of either player."""

    count: int
    numbers: tuple[int, ...]
    note: Path

    def __call__(self) -> None:
        at_update(self.count, self.strike)

    def strike(self, state: TrainingState) -> None:
        position = {name: getattr(state, name) for name in ("step", "critic_updates", "critic_updates_in_step")}
        self.note.write_text(json.dumps(position))
        send(self.numbers)


@dataclass(frozen=True)
class SignalAtOperation:
    """A signal before the operation of this number on a file in a folder; None only counts them.

    ``note`` holds a line for each operation until then.
    """

    folder: Path
    count: int | None
    number: int
    note: Path

    def __call__(self) -> None:
        note = os.open(self.note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        seen = 0

        def operation(event: str, path: object) -> None:
            nonlocal seen
            place = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | Path) else ""  # noqa: PTH100
            if not place.startswith(f"{self.folder}{os.sep}"):
                return
            name = os.path.relpath(place, self.folder).replace(f".{os.getpid()}.", ".")  # in those of temporary files
            os.write(note, f"{event} {name}\n".encode())
            seen += 1
            if seen == self.count:
                send([self.number])

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            reading = event == "open" and not (int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
            if event in OPERATIONS and not reading:
                operation(event, arguments[0])

        sys.addaudithook(hook)


@dataclass(frozen=True)
class SignalWhileComposing:
    """A signal at the so many-th call of one of Hydra's functions, which then raises an error of its own.

    As a library does where a signal's exception passes a ``finally`` of it that cannot bear half of its work.
    """

    function: str
    count: int
    number: int

    def __call__(self) -> None:
        usual = getattr(ConfigLoaderImpl, self.function)
        calls = 0

        def composing(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.count:
                try:
                    send([self.number])
                finally:
                    raise HydraException("an error of the library's own")
            return usual(*arguments, **named)

        setattr(ConfigLoaderImpl, self.function, composing)


@dataclass(frozen=True)
class TornSave:
    """kill -9 in the middle of writing a checkpoint: half of it is on the disk."""

    count: int

    def __call__(self) -> None:
        at_update(self.count, lambda _: self.tear())

    def tear(self) -> None:
        def fsync(descriptor: int) -> None:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            send([signal.SIGKILL])

        vars(os)["fsync"] = fsync


@dataclass(frozen=True)
class FullDisk:
    """From the update of this number on no file grows beyond so many bytes: the system refuses the rest."""

    count: int
    size: int

    def __call__(self) -> None:
        at_update(self.count, lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size)))


@dataclass(frozen=True)
class LittleMemory:
    """From the update of this number on the process gets no more than so many bytes beyond what it has.

    What a tensor of 64 KiB or more frees goes back to the system at once. By itself the allocator keeps such memory
    after the first few, and then an update may find all that it needs there, however little the limit leaves.
    """

    count: int
    size: int

    def __call__(self) -> None:
        mmap_threshold = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
        assert ctypes.CDLL(None).mallopt(mmap_threshold, 2**16) == 1
        at_update(self.count, lambda _: self.limit())

    def limit(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + self.size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
