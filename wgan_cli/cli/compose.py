"""Composes configurations with Hydra, and runs a task with them."""

import copy
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO, cast

import hydra
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wgan_cli.cli.command_line import CommandLine, read_key
from wgan_cli.errors import UsageError, quote_for_hydra
from wgan_cli.settings import CONF_DIR

Task = Callable[[DictConfig], object]


def run_with_hydra(line: CommandLine, task: Task, *settings: str) -> None:
    """Let ``hydra.main`` compose the configuration and run the task, once for each job of a sweep.

    Args:
        line: The command line.
        task: Called with the configuration.
        *settings: More settings, which replace those of the command line.

    Raises:
        HydraException, OmegaConfBaseException, UsageError: If the configuration cannot be composed.
        Exception: The task's error; in a sweep, that of the first failed job.
    """
    composing = ExitStack()

    def run_task(config: DictConfig) -> None:
        composing.close()
        task(config)

    sys.argv[1:] = line.for_hydra(settings)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them
    run = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=line.command)
    try:
        with composing, redirect_stderr(cast("TextIO", _WithoutHydrasLine(sys.stderr))):
            if line.is_sweep:  # its jobs, perhaps in other processes, have been composed once
                run(task)()
            else:
                composing.enter_context(_refuse_malformed_options())
                run(run_task)()
    except SystemExit as error:
        raise SystemExit(2 if error.code == 1 else error.code) from None  # Hydra itself exits only for mistakes


@contextmanager
def _refuse_malformed_options() -> Iterator[None]:
    """Explain errors of Hydra's that have no type of their own.

    Raises:
        UsageError: In place of such an error.
    """
    try:
        yield
    except OmegaConfBaseException:
        raise
    except RecursionError as error:
        raise UsageError("an option's defaults lead back to the option itself") from error
    except ValueError as error:
        raise UsageError(str(error)) from error


class _WithoutHydrasLine:
    """A stream that drops Hydra's own line about a failed task, because the error is reported anyway."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def initialize_hydra(line: CommandLine) -> Iterator[None]:
    """Let :func:`hydra.compose` find the options in conf/ and in the user's folder, without running anything."""
    with initialize_config_dir(str(CONF_DIR), job_name=f"wgan-{line.command}", version_base="1.3"):
        yield


def compose_config(line: CommandLine, settings: Sequence[str] | None = None) -> DictConfig:
    """Compose the configuration of a run, with Hydra's part. Hydra must be initialised.

    Args:
        line: The command line, with the folder of the options.
        settings: Replace the settings of the command line.

    Raises:
        HydraException, OmegaConfBaseException, UsageError: If it cannot be composed.
    """
    words = list(line.settings if settings is None else settings)
    if line.flags.config_dir is not None:
        words.append(f"hydra.searchpath=[{quote_for_hydra(f'file://{line.flags.config_dir.resolve()}')}]")
    with _refuse_malformed_options():
        config = compose(line.flags.config_name, words, return_hydra_config=True)
    let_command_line_win(config, line.flags.config_name, words)
    return config


def let_command_line_win(config: DictConfig, config_name: str, settings: Sequence[str]) -> str | None:
    """Make an option on the command line replace a recipe's settings for that group.

    Hydra merges the two: a recipe's ``optimizer: {betas: ...}`` would stay if the command line chooses an optimizer
    without betas. A dataset is different, because a recipe's image size is meant for every dataset.

    Args:
        config: As composed by Hydra, which must be initialised. It is changed in place.
        config_name: The primary configuration.
        settings: The words that it was composed from.

    Returns:
        What stays of the recipe although the chosen loss usually brings something else, in a sentence; or None.
    """
    stays, usual = [], []
    keys = {word.partition("=")[0] for word in settings}
    chosen = keys & {"generator", "critic", "loss", "constraint", "optimizer"}
    if "experiment" in keys and chosen:
        kept = [word for word in settings if read_key(word).partition(".")[0] in {*chosen, "hydra"}]
        without_recipe = compose(config_name, kept, return_hydra_config=True)
        for group in chosen:
            config[group] = without_recipe[group]
        for group in ("constraint", "optimizer") if "loss" in chosen else ():
            if group not in chosen and config[group].name != without_recipe[group].name:
                stays.append(f"{group}={config[group].name}")
                usual.append(f"{group}={without_recipe.hydra.runtime.choices[group]}")
    return f"{' '.join(stays)} of the recipe; usual for this loss: {' '.join(usual)}" if stays else None


def remove_hydra(config: DictConfig) -> DictConfig:
    """Return a configuration without Hydra's part; interpolations stay as they are."""
    return OmegaConf.create({key: value for key, value in config.items_ex(resolve=False) if key != "hydra"})


def to_plain(config: DictConfig) -> dict[str, Any]:
    """Return the settings as plain data, without Hydra's part and with interpolations resolved.

    Raises:
        OmegaConfBaseException: If a mandatory value is missing, or an interpolation cannot be resolved.
    """
    plain = OmegaConf.to_container(remove_hydra(config), resolve=True, throw_on_missing=True)
    return cast("dict[str, Any]", plain)


def find_fixed_folder(config: DictConfig) -> Path:
    """Return the part of ``out`` before the first ``${now:...}``, which does not change with time."""
    pattern = str(cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))["out"])
    before, changes, _ = pattern.partition("${now:")
    if not changes:
        return Path(config.out).expanduser()
    fixed = copy.deepcopy(config)  # keeps the settings that other interpolations refer to
    fixed.out = before[: before.rfind("/") + 1]
    return Path(fixed.out).expanduser()
