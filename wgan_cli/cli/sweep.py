"""Sweeps: many runs from one command line."""

import logging
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from wgan_cli.cli.compose import check_sweep, chosen_wins, hand_to_hydra, is_sweep, unchanging_folder
from wgan_cli.cli.errors import BUG, exit_code, explain
from wgan_cli.parameters import SettingError, typed
from wgan_cli.run.interrupts import interruptions_kept

log = logging.getLogger("wgan_cli")


def sweep(arguments: Sequence[str], run_job: Callable[[DictConfig, Path, Path, list[str]], int]) -> int:
    """Let Hydra run each job of a sweep, in this process, one after the other; return the exit code.

    Args:
        arguments: The words of the command line; also those that only inform, as --help.
        run_job: Trains a job: its configuration, its folder, where ``resume=auto`` looks for earlier runs, and the
            settings on the command line.
    """
    if is_sweep(arguments):
        check_sweep("train", arguments)
    failed: list[tuple[str, str, int]] = []
    began: list[Path] = []

    def job(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        path, overrides = Path(hydra_config.runtime.output_dir), list(hydra_config.overrides.task)
        began[:] = [Path(hydra_config.sweep.dir)]
        try:
            with interruptions_kept():
                chosen_wins(config, hydra_config.job.config_name or "train", overrides)
                code = run_job(config, path, unchanging_folder(hydra_config.sweep), overrides)
        except Exception as error:
            reason = explain(error)
            log.error("%s", reason, exc_info=exit_code(error) == BUG)
            failed.append((f"{hydra_config.job.num}: {' '.join(overrides)}", reason, exit_code(error)))
            return
        finally:
            _free_memory()
            with suppress(OSError):  # it is not empty
                path.rmdir()
        if code:
            raise SystemExit(code)  # a signal stopped the job, and means the sweep

    try:
        with interruptions_kept():
            hand_to_hydra("train", job)
    except (SystemExit, KeyboardInterrupt):
        if began:
            log.info("the sweep was stopped; go on with: wgan-train %s", _how_to_go_on(arguments, began[0]))
        raise
    except OSError as error:  # Hydra's, on its folder: the jobs' own were caught
        raise SettingError(
            "hydra.sweep.dir", Path(error.filename or "."), f"cannot be used ({error.strerror})"
        ) from error
    finally:
        for folder in began:
            with suppress(OSError):
                _remove_if_unused(folder)
        if failed:
            log.error("%d of the jobs failed:", len(failed))
        for name, reason, _ in failed:
            log.error("  #%s\n      %s", name, reason.replace("\n", "\n      "))
    return failed[0][2] if failed else 0


def _remove_if_unused(folder: Path) -> None:
    """Remove a sweep's folder in which no job left anything: a dry run, or all are finished elsewhere, or failed."""
    for job in folder.iterdir():
        if job.name.isdigit():
            with suppress(OSError):  # it is not empty
                job.rmdir()
    if [path.name for path in folder.iterdir()] == ["multirun.yaml"]:
        (folder / "multirun.yaml").unlink()
        folder.rmdir()


def _how_to_go_on(arguments: Sequence[str], folder: Path) -> str:
    """Return the words that go on with a sweep in its folder; one that goes on with named runs goes on as it is."""
    if any(word.startswith("resume=") and word != "resume=auto" for word in arguments):
        return shlex.join(arguments)
    own = [word for word in arguments if not word.startswith(("hydra.sweep.dir=", "resume="))]
    return f"{shlex.join(own)} {typed('hydra.sweep.dir', folder)} resume=auto"


def _free_memory() -> None:
    """Give back what a job held, before the next one begins."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
