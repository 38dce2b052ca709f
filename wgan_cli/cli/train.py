"""The command ``wgan-train``."""

import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, chdir
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from wgan_cli.cli.command_line import CommandLine, parse_command_line, read_key
from wgan_cli.cli.compose import find_fixed_folder, let_command_line_win, run_with_hydra, to_plain
from wgan_cli.cli.help import answer
from wgan_cli.cli.sweep import sweep
from wgan_cli.errors import InputError, SettingError, as_typed, blame, report_failures
from wgan_cli.files import parse_path
from wgan_cli.parameters import bind
from wgan_cli.settings import Settings, list_memory_settings, require_changeable
from wgan_cli.signals import heed_signals

if TYPE_CHECKING:
    from wgan_cli.run.folder import RunFolder
    from wgan_cli.run.session import Run

log = logging.getLogger("wgan_cli")


def train(words: Sequence[str]) -> None:
    """Train what the words of the command line ask for: one run, or every job of a sweep."""
    line = parse_command_line("train", words)
    _check_resumed(line)
    if (text := answer(line)) is not None:
        print(text, end="")
        return
    log_to_stdout()
    if line.is_sweep:
        sweep(line, train_composed)
    else:
        run_with_hydra(line, train_composed)


def _check_resumed(line: CommandLine) -> None:
    """Reject settings that a resumed run may not change, before Hydra looks them up in the default options.

    Raises:
        SettingError: If there is one.
    """
    folder = line.find("resume")
    if folder in (None, "", "auto", "null"):
        return
    known = {"experiment", *(field.name for field in fields(Settings))}
    keys = [read_key(word) for word in line.settings]
    require_changeable(folder, (key for key in keys if key.partition(".")[0] in known))
    if line.flags.cfg == "job":
        raise SettingError("resume", folder, "the settings are in its checkpoint; dry_run=true shows the plan")


def train_composed(config: DictConfig) -> None:
    """Train one run, which may be a job of a sweep or the continuation of an earlier run.

    Args:
        config: As Hydra composed it. Hydra's own part is taken from ``HydraConfig``.

    Raises:
        InputError: If a setting cannot be used.
        RunFailedError: If the run fails.
        SystemExit: If a signal stops it, with 128 + the signal's number.
    """
    log_to_stdout()  # again, because a launcher may run jobs in other processes
    hydra_config = HydraConfig.get()
    words = list(hydra_config.overrides.task)
    let_command_line_win(config, hydra_config.job.config_name or "train", words)
    chosen = to_plain(config)
    if "experiment" in chosen:
        raise InputError("experiment: the file of a recipe must start with the line '# @package _global_'")
    settings = bind(Settings, chosen)
    with chdir(hydra_config.runtime.cwd):  # paths are relative to where the user is, even under hydra.job.chdir
        is_job = hydra_config.mode == RunMode.MULTIRUN
        with blame("out", settings.out):
            sweep_config = hydra_config.sweep
            out = Path(sweep_config.dir, sweep_config.subdir) if is_job else parse_path(settings.out or "")
        _train_or_resume(settings, words, out, find_fixed_folder(config), anywhere=is_job)


def _train_or_resume(settings: Settings, words: list[str], out: Path, root: Path, *, anywhere: bool) -> None:
    """Start a run, or resume an earlier one.

    Args:
        settings: As bound.
        words: The settings on the command line.
        out: The folder of a new run.
        root: Where ``resume=auto`` looks for an earlier run.
        anywhere: Whether ``resume=auto`` is content with a finished run in any folder there, rather than in ``out``.
    """
    from wgan_cli.build.restore import find_earlier_runs  # imports torch: not before the settings have been checked
    from wgan_cli.run.folder import RunFolder

    if settings.resume is None:
        _start(settings, RunFolder(out), words)
        return
    if settings.resume != "auto":
        with blame("resume", settings.resume):
            folder = RunFolder(parse_path(settings.resume))
        _resume(settings, folder, [read_key(word) for word in words])
        return
    earlier = list(find_earlier_runs(root, settings))
    for folder, finished in earlier:
        if finished and (anywhere or folder.path == out):
            log.info("nothing to do: %s has these settings and is finished", folder.path)
            return
    for folder, finished in earlier:
        if not finished:
            log.info("resuming %s, which has these settings", folder.path)
            _resume(settings, folder, [])
            return
    log.info("no unfinished run with these settings in %s; starting a new one", root)
    _start(settings, RunFolder(out), words)


def _start(settings: Settings, folder: "RunFolder", words: list[str]) -> None:
    """Train a new run."""
    from wgan_cli.build.run import build_run

    with ExitStack() as stack:
        with report_failures(list_memory_settings(settings)):
            run = build_run(settings)
        if not _is_ready(run, folder, "out"):
            return
        with blame("out", folder.path):
            stack.enter_context(heed_signals())
            stack.enter_context(folder.create(asdict(run.settings), words))
        _train(run, folder)


def _resume(settings: Settings, folder: "RunFolder", keys: list[str]) -> None:
    """Train the rest of an earlier run."""
    from wgan_cli.build.restore import resume_run
    from wgan_cli.run.checkpoints import link_checkpoint

    with ExitStack() as stack:
        with blame("resume", folder.path):
            if not settings.dry_run:
                stack.enter_context(folder.reopen())
            with report_failures(list_memory_settings(settings)):
                run, newest = resume_run(folder, settings, keys)
                if not settings.dry_run:
                    if newest != folder.last_checkpoint:
                        link_checkpoint(newest, folder.last_checkpoint)
                    folder.keep_epochs(run.settings.checkpoint.keep)
        if _is_ready(run, folder, "resume"):
            stack.enter_context(heed_signals())
            _train(run, folder)


def _is_ready(run: "Run", folder: "RunFolder", key: str) -> bool:
    """Return whether there is something to train now. If not, say why; if the disk is too small, refuse."""
    from wgan_cli.run.plan import check_space, count_checkpoints, measure_checkpoint

    if run.settings.dry_run:
        log.info("%s", _format_plan(run, folder))
        return False
    position = run.state.position
    if run.cadence.finished(position):
        done = f"{run.cadence.epochs_done(position)} epochs and {position.step:,} steps are done"
        log.info("nothing to do: %s; a larger epochs= or max_steps= continues the run", done)
        return False
    files = count_checkpoints(run.state, run.cadence, run.settings.checkpoint.keep)
    with blame(key, folder.path):
        if warning := check_space(folder.path, measure_checkpoint(run.state), files):
            log.warning("%s", warning)
    return True


def _format_plan(run: "Run", folder: "RunFolder") -> str:
    return f"{run.plan}\n{'results':<12}{folder.path}"


def _train(run: "Run", folder: "RunFolder") -> None:
    """Train, and say how it ended."""
    from wgan_cli.run.logfile import log_to_file
    from wgan_cli.run.session import execute

    resume = f"wgan-train {as_typed('resume', folder.path)}"
    memory = list_memory_settings(run.settings)
    with log_to_file(log, folder.log), report_failures(memory, folder.last_checkpoint):
        log.info("%s", _format_plan(run, folder))
        try:
            ending = execute(run, folder)
        except KeyboardInterrupt:
            log.info("stopped at once, without saving; resume from the last checkpoint with: %s", resume)
            raise
        step = run.state.position.step
        if isinstance(ending, signal.Signals):
            log.info("stopped by %s after step %d and saved; resume with: %s", ending.name, step, resume)
            raise SystemExit(128 + ending)
        if ending == "out of time":
            log.info("reached max_minutes after step %d; resume with: %s", step, resume)
        else:
            draw = f"wgan-sample {as_typed('checkpoint', folder.path)}"
            log.info("finished after step %d; draw images with: %s", step, draw)


def log_to_stdout() -> None:
    """Print log messages."""
    logging.raiseExceptions = False  # a message that a full disk or a closed pipe did not take is not worth a traceback
    handler = logging.StreamHandler(sys.stdout)
    # A filter, not a level: the progress bar replaces this handler by one of its own, to which it copies only filters.
    handler.addFilter(lambda record: record.levelno >= logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.DEBUG)
    log.propagate = False
