"""Faults that strike a training process at a chosen moment: real signals, real limits, real disk errors.

A fault is called in the process before its command starts. It records where it struck.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from wgan_cli.run.recorder import Recorder
from wgan_cli.training.state import TrainingState

# The audit events of operations that change files.
OPERATIONS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def send(numbers: Sequence[int]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def at_update(count: int, strike: Callable[[TrainingState], None]) -> None:
    """Strike after so many updates of either player, before they are recorded."""
    usual = Recorder.record
    updates = 0

    def record(self: Recorder, state: TrainingState) -> None:
        nonlocal updates
        updates += 1
        if updates == count:
            strike(state)
        usual(self, state)

    Recorder.record = record  # type: ignore[method-assign]


@dataclass(frozen=True)
class SignalsAtUpdate:
    count: int
    numbers: tuple[int, ...]
    note: Path

    def __call__(self) -> None:
        at_update(self.count, self.strike)

    def strike(self, state: TrainingState) -> None:
        self.note.write_text(json.dumps(asdict(state.position)))
        send(self.numbers)


@dataclass(frozen=True)
class SignalAtOperation:
    """A signal before the operation of this number on a file in a folder; None only counts them."""

    folder: Path
    count: int | None
    number: int
    note: Path  # gets a line for each operation until then

    def __call__(self) -> None:
        note = os.open(self.note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            reading = event == "open" and not (int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
            if event not in OPERATIONS or reading:
                return
            path = arguments[0]
            place = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | Path) else ""  # noqa: PTH100
            if not place.startswith(f"{self.folder}{os.sep}"):
                return
            name = os.path.relpath(place, self.folder).replace(f".{os.getpid()}.", ".")  # in those of temporary files
            os.write(note, f"{event} {name}\n".encode())
            seen += 1
            if seen == self.count:
                send([self.number])

        sys.addaudithook(hook)


@dataclass(frozen=True)
class SignalWhileComposing:
    """A signal at the given call of Hydra's parser, which turns its exception into an error of the library.

    That happens when the exception of a signal passes through cleanup code that cannot cope with it.
    """

    count: int
    number: int

    def __call__(self) -> None:
        usual = OverridesParser.parse_overrides
        calls = 0

        def parse_overrides(self_: OverridesParser, overrides: list[str]) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.count:
                try:
                    send([self.number])
                finally:
                    raise HydraException("an error of the library")
            return usual(self_, overrides)

        OverridesParser.parse_overrides = parse_overrides  # type: ignore[assignment,method-assign]


@dataclass(frozen=True)
class TornSave:
    """kill -9 while a checkpoint is being written: half of it is on the disk."""

    count: int

    def __call__(self) -> None:
        def fsync(descriptor: int) -> None:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            send([signal.SIGKILL])

        at_update(self.count, lambda _: vars(os).update(fsync=fsync))


@dataclass(frozen=True)
class FullDisk:
    """From the given update on, no file can grow beyond so many bytes."""

    count: int
    size: int

    def __call__(self) -> None:
        at_update(self.count, lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size)))


@dataclass(frozen=True)
class LittleMemory:
    """From the given update on, the process gets no more than so many bytes in addition to what it has.

    Freed tensors of 64 KiB or more return to the system at once, and no thread has memory in reserve. By default the
    allocator keeps such memory, and then an update may need none from the system, however little the limit allows.
    """

    count: int
    size: int

    def __call__(self) -> None:
        for setting, value in ((-3, 2**16), (-8, 1)):  # M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h
            assert ctypes.CDLL(None).mallopt(setting, value) == 1

        def limit(_: TrainingState) -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + self.size
            resource.setrlimit(resource.RLIMIT_AS, (most, most))

        at_update(self.count, limit)


@dataclass(frozen=True)
class Shortcut:
    """No fault: the embedded digits have one look instead of twelve, which halves the time of a short run."""

    def __call__(self) -> None:
        looks = vars(importlib.import_module("wgan_cli.data.glyphs"))
        looks.update(OUTLINES=looks["OUTLINES"][:1], BLURS=looks["BLURS"][:1])
