"""The console scripts. Light to import, so that Ctrl-C is answered while all the rest is still being imported."""

import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn

from wgan_cli.run.interrupts import Interrupted, caught_signals


def wgan_train() -> NoReturn:
    """Run ``wgan-train`` with the process's arguments, and exit."""

    def command() -> int:
        from wgan_cli.cli.errors import answered
        from wgan_cli.cli.train import train

        return answered("wgan-train", lambda: train(sys.argv[1:]))

    _exit("wgan-train", command)


def wgan_sample() -> NoReturn:
    """Run ``wgan-sample`` with the process's arguments, and exit."""

    def command() -> int:
        from wgan_cli.cli.errors import answered
        from wgan_cli.cli.sample import sample

        return answered("wgan-sample", lambda: sample(sys.argv[1:]))

    _exit("wgan-sample", command)


def _exit(program: str, command: Callable[[], int]) -> NoReturn:
    """Exit with a command's code, or with 130 or 143 if a signal ends it: 128 and the signal's number."""
    with caught_signals():
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # what the terminal has no letters for
        try:
            code = command()
        except Interrupted as error:
            _ignore_signals()
            print(f"{program}: interrupted by {error.signal.name}", file=sys.stderr)
            code = 128 + error.signal
    _ignore_signals()
    sys.exit(code)


def _ignore_signals() -> None:
    """All is done, and the interpreter takes a moment to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
