"""The command ``wgan-train``."""

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from wgan_cli import __version__
from wgan_cli.cli.compose import check_flags, check_sweep, chosen_wins, composed, hand_to_hydra, plain
from wgan_cli.cli.errors import BUG, UsageError, exit_code, explain, report
from wgan_cli.parameters import bind
from wgan_cli.settings import Settings

log = logging.getLogger("wgan_cli")


def main() -> None:
    """Run ``wgan-train`` with the process's arguments, and exit."""
    report("wgan-train", lambda: train(sys.argv[1:]))


def train(arguments: Sequence[str]) -> int:
    """Train what the arguments ask for: one run, or each job of a sweep; return the exit code."""
    if "--version" in arguments:
        print(f"wgan-cli {__version__}")
        return 0
    check_flags(arguments)
    _log_to_stdout()
    config = composed("train", arguments)
    if config is None:
        return _sweep(arguments)
    return _run(config, Path(config.hydra.run.dir), [*config.hydra.overrides.hydra, *config.hydra.overrides.task])


def _run(config: DictConfig, path: Path, overrides: list[str]) -> int:
    """Train one run in a folder of its own, or go on in that of an earlier one; return the exit code."""
    chosen = plain(config)
    if "experiment" in chosen:
        raise UsageError("experiment: the recipe's file must begin with the line '# @package _global_'")
    settings = bind(Settings, chosen)

    from wgan_cli.build import build_run, resume_run  # imports torch: not before the settings have been looked at
    from wgan_cli.run.failure import failures
    from wgan_cli.run.folder import RunFolder
    from wgan_cli.run.session import execute

    folder = RunFolder(path if settings.resume is None else Path(settings.resume).expanduser())
    with failures():
        if settings.resume is None:
            run = build_run(settings)
        else:
            run = resume_run(folder.path, settings, [word.lstrip("+~").partition("=")[0] for word in overrides])
    keys = {word.partition("=")[0] for word in overrides}
    if {"experiment", "loss"} <= keys and not {"constraint", "optimizer"} & keys:
        log.info("the loss is another than the recipe's; constraint and optimizer are still the recipe's")
    plan = f"{run.plan}\n{'results':<12}{folder.path}"
    if settings.dry_run:
        log.info(plan)
        return 0
    if run.cadence.finished(run.state):
        done = f"{run.cadence.epochs_done(run.state)} epochs and {run.state.step:,} steps are done"
        log.info("nothing is left to do: %s; a larger epochs= or max_steps= goes on", done)
        return 0
    if settings.resume is None:
        folder.create(run.config, overrides)
    with failures(), _log_to_file(folder.log):
        log.info(plan)
        ending = execute(run, folder)
        go_on = f"wgan-train resume={folder.path}"
        if isinstance(ending, signal.Signals):
            log.info("stopped by %s after step %d and saved; go on with: %s", ending.name, run.state.step, go_on)
            return 128 + ending
        if ending == "out of time":
            log.info("max_minutes are over after step %d; go on with: %s", run.state.step, go_on)
        else:
            log.info("finished after step %d; draw images with: wgan-sample checkpoint=%s", run.state.step, folder.path)
    return 0


def _sweep(arguments: Sequence[str]) -> int:
    """Let Hydra run each job of a sweep, in this process, one after the other; return the exit code."""
    if {"-m", "--multirun"} & set(arguments):
        check_sweep("train", arguments)
    failures: list[tuple[str, str, int]] = []

    def job(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        overrides = list(hydra_config.overrides.task)
        try:
            chosen_wins(config, hydra_config.job.config_name or "train", overrides)
            code = _run(config, Path(hydra_config.runtime.output_dir), overrides)
        except Exception as error:
            reason = explain(error)
            log.error("%s", reason, exc_info=exit_code(error) == BUG)
            failures.append((f"{hydra_config.job.num}: {' '.join(overrides)}", reason, exit_code(error)))
            return
        finally:
            _free_memory()
            with suppress(OSError):  # it is not empty
                Path(hydra_config.runtime.output_dir).rmdir()
        if code:
            raise SystemExit(code)  # a signal stopped the job, and means the sweep

    try:
        hand_to_hydra("train", job)
    finally:
        if failures:
            log.error("%d of the jobs failed:", len(failures))
        for name, reason, _ in failures:
            log.error("  #%s\n      %s", name, reason.replace("\n", "\n      "))
    return failures[0][2] if failures else 0


def _free_memory() -> None:
    """Give back what a job held, before the next one begins."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    # A filter, not a level: the progress bar puts a handler in the place of this one, and copies only its filters.
    handler.addFilter(lambda record: record.levelno >= logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.setLevel(logging.DEBUG)
    log.propagate = False


@contextmanager
def _log_to_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    except Exception as error:
        trace = sys.exc_info() if exit_code(error) == BUG else None
        # To the file alone: whoever catches the error says it on the terminal.
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), trace))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


if __name__ == "__main__":
    main()
