"""Calls from Python: the commands without a command line."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from wgan_cli.cli.command_line import parse_command_line
from wgan_cli.cli.compose import compose_config, initialize_hydra
from wgan_cli.cli.explain import HYDRA_ERRORS, explain
from wgan_cli.cli.plugins import add_plugins
from wgan_cli.cli.train import prepare_resuming, train_composed
from wgan_cli.errors import UsageError


def train_run(settings: Sequence[str]) -> tuple[Path, dict[str, float]]:
    """Train one run; return its folder and its last numbers. See :func:`wgan_cli.train`."""
    try:
        line = prepare_resuming(parse_command_line("train", settings))
        if list(line.settings) != list(line.words) or line.is_sweep:
            raise UsageError("from Python, wgan_cli.train takes the settings of one run, without flags")
        add_plugins(line)
        with initialize_hydra(line):
            config = compose_config(line)
            HydraConfig.instance().set_config(config)
        folder = train_composed(config)
        from wgan_cli.build.launch import read_last_numbers  # after the settings have been checked, as it imports torch

        return folder, read_last_numbers(folder)
    except HYDRA_ERRORS as error:
        raise UsageError(explain(error)) from error
    except SystemExit as error:
        if error.code == 130:  # Ctrl-C, and the state is saved
            raise KeyboardInterrupt from None
        raise
