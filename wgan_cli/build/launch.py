"""Starts or resumes a run, and logs how it ended."""

import logging
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from wgan_cli.build.plugins import import_plugins
from wgan_cli.build.restore import find_earlier_runs, resume_run
from wgan_cli.build.run import build_run
from wgan_cli.errors import as_typed, blame, report_failures
from wgan_cli.files import link_latest, parse_path
from wgan_cli.run.checkpoints import link_checkpoint
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.logfile import keep_messages, log_to_file
from wgan_cli.run.plan import check_space, count_checkpoints, measure_checkpoint
from wgan_cli.run.session import Run, execute
from wgan_cli.run.tables import read_last_row
from wgan_cli.settings import CHANGEABLE, Settings, list_memory_settings
from wgan_cli.signals import heed_signals

log = logging.getLogger("wgan_cli")


@keep_messages(log)
def launch(settings: Settings, words: Sequence[str], keys: Sequence[str], out: Path, root: Path, is_job: bool) -> Path:
    """Train the run that the settings describe, or the rest of an earlier run; return its folder.

    Args:
        settings: The checked settings.
        words: The settings on the command line, for the record.
        keys: Their keys.
        out: The folder of a new run.
        root: Where ``resume=auto`` looks for an earlier run, and where a link to the newest is made.
        is_job: Whether this is a job of a sweep. If so, ``resume=auto`` accepts a finished run in any folder.

    Raises:
        InputError: If a setting cannot be used.
        RunFailedError: If the run fails.
        SystemExit: If a signal stops it, with 128 + the signal's number.
    """
    import_plugins(settings.plugins)
    if settings.resume is None:
        return start(settings, RunFolder(out), words, None if is_job else root)
    if settings.resume != "auto":
        with blame("resume", settings.resume):
            path = parse_path(settings.resume)
        if "out" in keys and not is_job:
            return branch(settings, path, RunFolder(out), words, [key for key in keys if key != "out"])
        return resume(settings, RunFolder(path), keys)
    earlier = list(find_earlier_runs(root, settings, out))
    for folder, finished in earlier:
        if finished and (is_job or folder.path == out):
            log.info("nothing to do: %s has these settings and is finished", folder.path)
            return folder.path
    for folder, finished in earlier:
        if not finished:
            log.info("resuming %s, which has these settings", folder.path)
            keys = [key for key in CHANGEABLE if key != "dataset.root" or "root" in settings.dataset]
            return resume(settings, folder, keys)
    log.info("no unfinished run with these settings in %s; starting a new one", root)
    return start(settings, RunFolder(out), words, None if is_job else root)


def read_last_numbers(path: Path) -> dict[str, float]:
    """Return the last row of a run's metrics by column, or nothing if it has none."""
    return read_last_row(RunFolder(path).metrics)


def start(settings: Settings, folder: RunFolder, words: Sequence[str], root: Path | None) -> Path:
    """Train a new run; return its folder. If it is below ``root``, ``latest`` there becomes a link to it."""
    with ExitStack() as stack:
        with report_failures(list_memory_settings(settings)):
            run = build_run(settings)
        if is_ready(run, folder, "out"):
            with blame("out", folder.path):
                stack.enter_context(heed_signals())
                stack.enter_context(folder.create(asdict(run.settings), words))
            if root is not None:
                link_latest(folder.path, root)
            train_to_end(run, folder)
    return folder.path


def resume(settings: Settings, folder: RunFolder, keys: Sequence[str]) -> Path:
    """Train the rest of an earlier run; return its folder."""
    with ExitStack() as stack:
        with blame("resume", folder.path):
            if not settings.dry_run:
                stack.enter_context(folder.reopen())
            with report_failures(list_memory_settings(settings)):
                run, newest = resume_run(folder.path, settings, keys)
                if not settings.dry_run:
                    if newest != folder.last_checkpoint:
                        link_checkpoint(newest, folder.last_checkpoint)
                    folder.keep_epochs(run.settings.checkpoint.keep)
        if is_ready(run, folder, "resume"):
            stack.enter_context(heed_signals())
            train_to_end(run, folder)
    return folder.path


def branch(settings: Settings, path: Path, folder: RunFolder, words: Sequence[str], keys: Sequence[str]) -> Path:
    """Train the rest of an earlier run in a new folder; return that.

    Args:
        settings: The checked settings.
        path: A checkpoint file, or the folder of a run, whose newest intact checkpoint is used.
        folder: The new one.
        words: The settings on the command line, for the record.
        keys: Their keys, without ``out``.
    """
    with ExitStack() as stack:
        with blame("resume", path), report_failures(list_memory_settings(settings)):
            run, checkpoint = resume_run(path, settings, keys)
        if is_ready(run, folder, "out"):
            with blame("out", folder.path):
                stack.enter_context(heed_signals())
                stack.enter_context(folder.create(asdict(run.settings), words))
                link_checkpoint(checkpoint, folder.last_checkpoint)
                folder.copy_history(RunFolder(checkpoint.parent.parent), run.cadence.epochs_done(run.state.position))
            train_to_end(run, folder)
    return folder.path


def is_ready(run: Run, folder: RunFolder, key: str) -> bool:
    """Return whether training can start; if not, log why.

    Raises:
        SettingError: For ``key``, if the disk is too small.
    """
    if run.cadence.total_steps == 0:
        first, length = run.cadence.schedule.updates_in(0), run.cadence.total_updates
        log.warning(
            "the run ends after %d critic updates, before the generator's first, which follows %d", length, first
        )
    if run.settings.dry_run:
        log.info("%s\n%-12s%s", run.plan, "results", folder.path)
        return False
    position = run.state.position
    if run.cadence.finished(position):
        reached = {"epochs": run.cadence.epochs_finished(position), "max_steps": run.cadence.steps_finished(position)}
        limits = [f"{key}={getattr(run.settings, key)}" for key, is_reached in reached.items() if is_reached]
        log.info("nothing to do: %s is reached; a larger value continues the run", " and ".join(limits))
        return False
    files = count_checkpoints(run.state, run.cadence, run.settings.checkpoint.keep)
    with blame(key, folder.path):
        if warning := check_space(folder.path, measure_checkpoint(run.state), files):
            log.warning("%s", warning)
    return True


def train_to_end(run: Run, folder: RunFolder) -> None:
    """Train, and log how it ended."""
    resume_command = f"wgan-train {as_typed('resume', folder.path)}"
    memory = list_memory_settings(run.settings)
    with log_to_file(log, folder.log), report_failures(memory, folder.last_checkpoint):
        log.info("%s\n%-12s%s", run.plan, "results", folder.path)
        try:
            ending = execute(run, folder)
        except KeyboardInterrupt:
            log.info("stopped at once, without saving; resume from the last checkpoint with: %s", resume_command)
            raise
        step = run.state.position.step
        film = f", and all grids in {folder.film}" if folder.film.exists() else ""
        log.info("the newest images are in %s%s", folder.newest_grid(), film)
        if isinstance(ending, signal.Signals):
            log.info("stopped by %s after step %d and saved; resume with: %s", ending.name, step, resume_command)
            raise SystemExit(128 + ending)
        if ending == "out of time":
            log.info("reached max_minutes after step %d; resume with: %s", step, resume_command)
        else:
            draw = f"wgan-sample {as_typed('checkpoint', folder.path)}"
            log.info("finished after step %d; draw more images with: %s", step, draw)
