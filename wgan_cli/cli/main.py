"""The console scripts. They import little, so that Ctrl-C works while the rest is imported."""

import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn

from wgan_cli.limits import use_one_thread_if_necessary
from wgan_cli.signals import STOPPING, Interrupted, catch_signals


def wgan_train() -> NoReturn:
    """Run ``wgan-train`` with the arguments of the process, and exit."""

    def command() -> int:
        from wgan_cli.cli.explain import run_command
        from wgan_cli.cli.train import train

        return run_command(train, sys.argv[1:])

    _exit_with("wgan-train", command)


def wgan_sample() -> NoReturn:
    """Run ``wgan-sample`` with the arguments of the process, and exit."""

    def command() -> int:
        from wgan_cli.cli.explain import run_command
        from wgan_cli.cli.sample import sample

        return run_command(sample, sys.argv[1:])

    _exit_with("wgan-sample", command)


def _exit_with(program: str, command: Callable[[], int]) -> NoReturn:
    """Exit with the code of a command, or with 128 + the number of the signal that ends it."""
    _open_closed_streams()
    use_one_thread_if_necessary()
    with catch_signals():
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # for characters that the terminal cannot show
        try:
            code = command()
        except Interrupted as error:
            _ignore_signals()
            print(f"{program}: interrupted by {error.signal.name}", file=sys.stderr)
            code = 128 + error.signal
    _ignore_signals()
    sys.exit(code)


def _open_closed_streams() -> None:
    """Replace streams that the shell has closed, as ``2>&-`` does, so that no other file takes their number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def _ignore_signals() -> None:
    """Ignore signals while the interpreter exits."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
