"""Sweeps: many runs from one command line."""

import gc
import json
import logging
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from omegaconf import DictConfig

from wgan_cli.cli.command_line import CommandLine
from wgan_cli.cli.compose import compose_config, find_fixed_folder, initialize_hydra, run_with_hydra, to_plain
from wgan_cli.cli.explain import BUG, explain, get_exit_code
from wgan_cli.errors import SettingError, UsageError, as_typed, blame, quote_for_hydra
from wgan_cli.files import link_latest, parse_path
from wgan_cli.parameters import bind
from wgan_cli.settings import Settings
from wgan_cli.signals import restore_interrupts

log = logging.getLogger("wgan_cli")

FAILED = ".failed-"  # a failed job, perhaps in another process, leaves a file with its number


def sweep(line: CommandLine, run_job: Callable[[DictConfig], object]) -> None:
    """Let Hydra run every job of a sweep, with any of its launchers.

    Raises:
        SystemExit: With the exit code of the first failed job, after all have run.
    """
    folder, root = check_sweep(line)
    parents = [parent for parent in folder.parents if not parent.exists()]
    _collect_failures(folder)  # discards those of an earlier, stopped attempt

    def job(config: DictConfig) -> None:
        try:
            with restore_interrupts():
                run_job(config)
        except Exception as error:
            _record_failure(folder, error)
            raise
        finally:
            _free_memory()
            with suppress(OSError):  # it is not empty
                Path(HydraConfig.get().runtime.output_dir).rmdir()

    failures: list[tuple[int, str]] = []
    try:
        with blame("out", folder), restore_interrupts():
            # Pinned, because the default contains the time, which differs between processes.
            run_with_hydra(line, job, f"out={quote_for_hydra(str(folder))}")
    except (SystemExit, KeyboardInterrupt):
        log.info("the sweep was stopped; resume it with: wgan-train %s", _format_resume(line, folder))
        raise
    except Exception:
        failures = _collect_failures(folder)
        if not failures:
            raise  # not the error of a job
    finally:
        _remove_if_unused(folder, parents)
        if folder.is_dir():
            link_latest(folder, root)
    if failures:
        log.error("%d of the jobs failed:\n%s", len(failures), "\n".join(text for _, text in failures))
        raise SystemExit(failures[0][0])


def check_sweep(line: CommandLine) -> tuple[Path, Path]:
    """Compose the configuration with every swept value once, before Hydra makes the sweep's folder.

    Returns:
        The folder of the sweep, and the part of its path that does not change with time.

    Raises:
        HydraException: If a value cannot be composed.
        InputError: If no job could run.
    """
    swept = [override for override in line.overrides if override.is_sweep_override()]
    fixed = [override.input_line or "" for override in line.overrides if not override.is_sweep_override()]
    with initialize_hydra(line):
        values = []
        for override in swept:
            if not override.is_discrete_sweep():
                raise UsageError(f"{override.input_line}: must list its values, such as n_critic=1,2")
            override.config_loader = GlobalHydra.instance().config_loader()  # for glob(*)
            values.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
            if not values[-1]:
                raise UsageError(f"{override.input_line}: matches no option")
        mistakes: list[SettingError] = []
        folders = set()
        count = max(map(len, values), default=1)
        for index in range(count):
            config = compose_config(line, [*fixed, *(words[min(index, len(words) - 1)] for words in values)])
            folders.add(find_fixed_folder(config))
            try:
                with env_override(config.hydra.job.env_set):
                    bind(Settings, to_plain(config))
            except SettingError as error:  # this job will fail, but others may not
                mistakes.append(error)
        if len(folders) > 1:
            raise UsageError("out: must be one folder; each job gets a numbered folder in it")
        if len(mistakes) == count:
            raise mistakes[0]
        with blame("out", config.out):
            return parse_path(config.out or ""), folders.pop()


def _record_failure(folder: Path, error: Exception) -> None:
    """Log why a job failed, and record it for the summary."""
    hydra_config, reason = HydraConfig.get(), explain(error)
    log.error("%s", reason, exc_info=get_exit_code(error) == BUG)
    number = hydra_config.job.num
    words = " ".join(word for word in hydra_config.overrides.task if not word.startswith("out="))
    lines = [f"  #{number}: {words}", *(f"      {text}" for text in reason.splitlines())]
    content = json.dumps([get_exit_code(error), "\n".join(lines)])
    (Path(hydra_config.runtime.cwd) / folder / f"{FAILED}{number:06d}").write_text(content, encoding="utf-8")


def _collect_failures(folder: Path) -> list[tuple[int, str]]:
    """Return the exit code and the text of each job that failed, in the order of the jobs."""
    files = sorted(folder.glob(f"{FAILED}*"))
    found = [tuple(json.loads(file.read_text(encoding="utf-8"))) for file in files]
    for file in files:
        file.unlink()
    return found


def _remove_if_unused(folder: Path, parents: list[Path]) -> None:
    """Remove the folder of a sweep, and its new parents, if no job left anything in it, as in a dry run."""
    with suppress(OSError):
        for job in folder.iterdir():
            with suppress(OSError):  # not a folder, or not empty
                job.rmdir()
        if [path.name for path in folder.iterdir()] == ["multirun.yaml"]:
            (folder / "multirun.yaml").unlink()
            for path in (folder, *parents):
                path.rmdir()


def _format_resume(line: CommandLine, folder: Path) -> str:
    """Return the words that resume a sweep. One that resumes named runs is repeated unchanged."""
    if line.find("resume") not in (None, "auto"):
        return shlex.join(line.words)
    kept = [word for word in line.words if not word.startswith(("out=", "resume="))]
    return f"{shlex.join(kept)} {as_typed('out', folder)} resume=auto"


def _free_memory() -> None:
    """Release what a job held before the next one starts."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
