"""The command ``wgan-train``."""

import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from wgan_cli import __version__
from wgan_cli.cli.compose import CFG, check_flags, composed, key_of, plain, shown, unchanging_folder
from wgan_cli.cli.errors import UsageError
from wgan_cli.cli.help import help_text
from wgan_cli.cli.sweep import sweep
from wgan_cli.parameters import SettingError, bind, path_of, typed
from wgan_cli.run.interrupts import stop_requests
from wgan_cli.settings import Settings, require_changeable

if TYPE_CHECKING:
    from wgan_cli.run.folder import RunFolder
    from wgan_cli.run.session import Run

log = logging.getLogger("wgan_cli")


def train(arguments: Sequence[str]) -> int:
    """Train what the arguments ask for: one run, or each job of a sweep; return the exit code."""
    if "--version" in arguments:
        print(f"wgan-cli {__version__}")
        return 0
    check_flags(arguments)
    if (text := help_text("train", arguments)) is None:
        _check_resumed(arguments)
        text = shown("train", arguments)
    if text is not None:
        print(text, end="")
        return 0
    _log_to_stdout()
    config = composed("train", arguments)
    if config is None:
        return sweep(arguments, partial(_run, once=True))
    words = [*config.hydra.overrides.hydra, *config.hydra.overrides.task]
    return _run(config, Path(config.hydra.run.dir), unchanging_folder(config.hydra.run), words)


def _check_resumed(arguments: Sequence[str]) -> None:
    """Refuse what a run that goes on keeps, before it is looked for among the settings of the usual options.

    Raises:
        SettingError: If there is such a setting.
    """
    words = {key_of(word): word.partition("=")[2] for word in arguments if not word.startswith("-")}
    folder = words.get("resume", "").strip("\"'")
    if folder in ("", "auto", "null"):
        return
    there_are = {"experiment", *(field.name for field in fields(Settings))}
    require_changeable(folder, (key for key, value in words.items() if value and key.partition(".")[0] in there_are))
    if {*CFG, "--cfg=job"} & set(arguments):
        raise SettingError("resume", folder, "has its settings in its checkpoint; dry_run=true shows the plan")


def _run(config: DictConfig, path: Path, among: Path, words: list[str], once: bool = False) -> int:
    """Train one run in a folder of its own, or go on in that of an earlier one; return the exit code.

    Args:
        config: As composed.
        path: The folder of a new run.
        among: Where ``resume=auto`` looks for an earlier one.
        words: The settings on the command line.
        once: Whether a finished run is enough for ``resume=auto``, wherever it is; else it is where it has the folder.
    """
    chosen = plain(config)
    if "experiment" in chosen:
        raise UsageError("experiment: the recipe's file must begin with the line '# @package _global_'")
    settings = bind(Settings, chosen)
    keys = [key_of(word) for word in words]

    from wgan_cli.restore import earlier_runs  # imports torch: not before the settings have been looked at
    from wgan_cli.run.folder import RunFolder

    if settings.resume is None:
        return _begin(settings, RunFolder(path), words)
    if settings.resume != "auto":
        return _go_on(settings, RunFolder(path_of(settings.resume, "resume")), keys)
    earlier = list(earlier_runs(among, settings))
    for folder, finished in earlier:
        if finished and (once or folder.path == path):
            log.info("nothing is left to do: %s is finished, and has these settings", folder.path)
            return 0
    for folder, finished in earlier:
        if not finished:
            log.info("going on in %s, which has these settings and is not finished", folder.path)
            return _go_on(settings, folder, [])
    log.info("there is no unfinished run with these settings in %s; this is a new one", among)
    return _begin(settings, RunFolder(path), words)


def _begin(settings: Settings, folder: "RunFolder", words: list[str]) -> int:
    """Train a new run; return the exit code."""
    from wgan_cli.build import build_run
    from wgan_cli.run.failure import failures

    with failures(asdict(settings)):
        run = build_run(settings)
    if not _is_to_be_trained(run, folder, settings):
        return 0
    with stop_requests(), folder.begun(run.config, words):
        return _train(run, folder)


def _go_on(settings: Settings, folder: "RunFolder", keys: list[str]) -> int:
    """Train what is left of an earlier run; return the exit code."""
    from wgan_cli.restore import resume_run
    from wgan_cli.run.checkpoints import link_checkpoint
    from wgan_cli.run.failure import failures

    with nullcontext() if settings.dry_run else folder.reopened():
        with failures(asdict(settings)):
            run, newest = resume_run(folder, settings, keys)
            if not settings.dry_run:
                if newest != folder.last_checkpoint:
                    link_checkpoint(newest, folder.last_checkpoint)
                folder.keep_epochs(run.keep)
        if not _is_to_be_trained(run, folder, settings):
            return 0
        with stop_requests():
            return _train(run, folder)


def _is_to_be_trained(run: "Run", folder: "RunFolder", settings: Settings) -> bool:
    """Say what is left of a run if it is not to be trained now, and whether there is room for what it will write."""
    if settings.dry_run:
        log.info(_plan(run, folder))
        return False
    if run.cadence.finished(run.state):
        done = f"{run.cadence.epochs_done(run.state)} epochs and {run.state.step:,} steps are done"
        log.info("nothing is left to do: %s; a larger epochs= or max_steps= goes on", done)
        return False

    from wgan_cli.run.space import check_space, checkpoint_bytes, checkpoint_files

    files = checkpoint_files(run.state, run.cadence, run.keep)
    key = "hydra.run.dir" if settings.resume is None else "resume"
    if warning := check_space(folder.path, key, checkpoint_bytes(run.state), files):
        log.warning(warning)
    return True


def _plan(run: "Run", folder: "RunFolder") -> str:
    return f"{run.plan}\n{'results':<12}{folder.path}"


def _train(run: "Run", folder: "RunFolder") -> int:
    """Train, say how it ended, and return the exit code."""
    from wgan_cli.run.failure import failures
    from wgan_cli.run.logfile import log_to_file
    from wgan_cli.run.session import execute

    go_on = f"wgan-train {typed('resume', folder.path)}"
    with failures(), log_to_file(log, folder.log, run.state.rows):
        log.info(_plan(run, folder))
        try:
            ending = execute(run, folder)
        except KeyboardInterrupt:
            log.info("stopped at once, without saving; go on from the last checkpoint with: %s", go_on)
            raise
        if isinstance(ending, signal.Signals):
            log.info("stopped by %s after step %d and saved; go on with: %s", ending.name, run.state.step, go_on)
            return 128 + ending
        if ending == "out of time":
            log.info("max_minutes are over after step %d; go on with: %s", run.state.step, go_on)
        else:
            draw = f"wgan-sample {typed('checkpoint', folder.path)}"
            log.info("finished after step %d; draw images with: %s", run.state.step, draw)
    return 0


def _log_to_stdout() -> None:
    logging.raiseExceptions = False  # a message that a full disk or a closed pipe did not take is not worth a traceback
    handler = logging.StreamHandler(sys.stdout)
    # A filter, not a level: the progress bar puts a handler in the place of this one, and copies only its filters.
    handler.addFilter(lambda record: record.levelno >= logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.DEBUG)
    log.propagate = False
