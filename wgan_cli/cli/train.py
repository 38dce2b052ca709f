"""The command ``wgan-train``."""

import logging
import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import fields
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from wgan_cli.cli.command_line import CommandLine, parse_command_line, read_key
from wgan_cli.cli.compose import find_fixed_folder, let_command_line_win, run_with_hydra, to_plain
from wgan_cli.cli.explain import RECIPE_WITHOUT_PACKAGE
from wgan_cli.cli.help import answer
from wgan_cli.cli.plugins import add_plugins
from wgan_cli.cli.sweep import sweep
from wgan_cli.errors import InputError, SettingError, blame
from wgan_cli.files import parse_path
from wgan_cli.parameters import bind
from wgan_cli.settings import Settings, require_changeable

log = logging.getLogger("wgan_cli")


def train(words: Sequence[str]) -> None:
    """Train what the words of the command line ask for: one run, or every job of a sweep."""
    line = prepare_resuming(parse_command_line("train", words))
    add_plugins(line)
    if (text := answer(line)) is not None:
        print(text, end="")
        return
    log_to_stdout()
    if line.is_sweep:
        sweep(line, train_composed)
    else:
        run_with_hydra(line, train_composed)


def prepare_resuming(line: CommandLine) -> CommandLine:
    """Reject settings that a resumed run may not change, and force the others upon the default options.

    Raises:
        SettingError: If a setting may not change.
    """
    folder = line.find("resume")
    if folder in (None, "", "auto", "null"):
        return line
    known = {"experiment", *(field.name for field in fields(Settings))}
    keys = [key for word in line.settings if (key := read_key(word)) != "out" or line.is_sweep]
    require_changeable(folder, (key for key in keys if key.partition(".")[0] in known))
    if line.flags.cfg == "job":
        raise SettingError("resume", folder, "the settings are in its checkpoint; dry_run=true shows the plan")
    return line.force("dataset.root")  # which the default dataset lacks


def train_composed(config: DictConfig) -> Path:
    """Train one run, which may be a job of a sweep or the rest of an earlier run; return its folder.

    Args:
        config: As Hydra composed it. Hydra's own part is taken from ``HydraConfig``.
    """
    log_to_stdout()  # again, because a launcher may run jobs in other processes
    hydra_config = HydraConfig.get()
    words = list(hydra_config.overrides.task)
    if remark := let_command_line_win(config, hydra_config.job.config_name or "train", words):
        log.info("%s", remark)
    chosen = to_plain(config)
    if "experiment" in chosen:
        raise InputError(RECIPE_WITHOUT_PACKAGE)
    settings = bind(Settings, chosen)
    is_job, sweep_config = hydra_config.mode == RunMode.MULTIRUN, hydra_config.sweep
    with blame("out", settings.out):
        out = Path(sweep_config.dir, sweep_config.subdir) if is_job else parse_path(settings.out or "")

    if sys.stdout.isatty() and "torch" not in sys.modules:
        print("loading PyTorch and the images ...", flush=True)  # which takes seconds

    from wgan_cli.build.launch import launch  # imports torch, so check the settings first

    with chdir(hydra_config.runtime.cwd):  # resolve relative paths in the user's folder, even under hydra.job.chdir
        return launch(settings, words, [read_key(word) for word in words], out, find_fixed_folder(config), is_job)


def log_to_stdout() -> None:
    """Print log messages."""
    logging.raiseExceptions = False  # no traceback for a message lost to a full disk or a closed pipe
    handler = logging.StreamHandler(sys.stdout)
    # A filter, not a level: the progress bar replaces this handler by another, and copies only filters.
    handler.addFilter(lambda record: record.levelno >= logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.DEBUG)
    log.propagate = False
