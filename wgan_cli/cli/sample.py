"""The command ``wgan-sample``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from wgan_cli import __version__
from wgan_cli.cli.compose import check_flags, composed, hand_to_hydra, plain
from wgan_cli.cli.errors import UsageError, report
from wgan_cli.parameters import bind
from wgan_cli.settings import SampleSettings


def main() -> None:
    """Run ``wgan-sample`` with the process's arguments, and exit."""
    report("wgan-sample", lambda: sample(sys.argv[1:]))


def sample(arguments: Sequence[str]) -> int:
    """Render what the arguments ask for; return the exit code."""
    if "--version" in arguments:
        print(f"wgan-cli {__version__}")
        return 0
    check_flags(arguments)
    if {"-m", "--multirun"} & set(arguments):
        raise UsageError("-m: wgan-sample renders one checkpoint at a time")
    config = composed("sample", arguments)
    if config is None:
        hand_to_hydra("sample", _render)
    else:
        _render(config)
    return 0


def _render(config: DictConfig) -> None:
    settings = bind(SampleSettings, plain(config))

    from wgan_cli.build import load_generator  # imports torch: not before the settings have been looked at
    from wgan_cli.export import export
    from wgan_cli.modes import write_samples
    from wgan_cli.run.failure import failures

    checkpoint = Path(settings.checkpoint).expanduser()
    with failures():
        if settings.export is None:
            print(write_samples(load_generator(checkpoint, settings.device), settings))
        else:
            out = None if settings.out is None else Path(settings.out).expanduser()
            print(export(load_generator(checkpoint), settings.export, out))


if __name__ == "__main__":
    main()
