"""Checkpoints to objects: a run that goes on, a trained generator. Whoever wrote the checkpoint is not trusted."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from wgan_cli.build import build_cadence, build_generator, build_run, settled, stored
from wgan_cli.devices import resolve_device
from wgan_cli.parameters import SettingError, bind
from wgan_cli.players import Generator
from wgan_cli.run.checkpoints import must_fit, newest_checkpoint, peek
from wgan_cli.run.folder import RunFolder, run_folders
from wgan_cli.run.session import Run
from wgan_cli.settings import CHANGEABLE, OF_THIS_PROCESS, Settings, require_changeable
from wgan_cli.training.state import require_weights


def resume_run(folder: RunFolder, changed: Settings, given: list[str]) -> tuple[Run, Path]:
    """Build the run that goes on where a folder's newest checkpoint ends.

    Args:
        folder: A run's.
        changed: The settings of the command line, of which only those count that a resumed run may change.
        given: The keys that the command line names.

    Returns:
        The run, and the checkpoint file that it goes on from.

    Raises:
        SettingError: If there is nothing to go on with, or a key is given that must stay as it was.
    """
    require_changeable(folder.path, given)
    file, checkpoint = newest_checkpoint(folder.path, "resume")
    config = dict(checkpoint.config)
    for key in given:
        _copy(asdict(changed), config, key.split("."))
    try:
        settings = bind(Settings, config)
    except SettingError as error:
        raise _unusable_settings(folder, error) from error
    this_process = {key: getattr(changed, key) for key in OF_THIS_PROCESS}
    settings = replace(settings, **{**this_process, "resume": str(folder.path)})
    try:
        return build_run(settings, checkpoint), file
    except SettingError as error:
        if error.key == "dataset.root" and not Path(settings.dataset["root"]).is_absolute():
            where = "it is looked for from here, as it was from the folder where the run began"
            raise SettingError("resume", folder.path, f"{error}; {where}") from error
        if error.key in ("resume", "dataset.root", *given) or error.key in CHANGEABLE:
            raise  # what it says is about this machine or this command line
        raise _unusable_settings(folder, error) from error


def earlier_runs(root: Path, settings: Settings) -> Iterator[tuple[RunFolder, bool]]:
    """Find the runs with these very settings in a folder, at any depth.

    Yields:
        A run's folder, and whether the run is at its end; the one that was saved last comes first.
    """
    settings = settled(settings)
    config = stored(settings)
    found = []
    for folder in run_folders(root):
        with suppress(OSError):  # somebody else's, or one that another process is writing in
            files = folder.checkpoints()
            saved = max((file.stat().st_mtime for file in files), default=0)
            checkpoint = next(filter(None, map(peek, files)), None)
            if checkpoint is not None and checkpoint.config == config:
                position = _Position(*(checkpoint.state[name] for name in _Position._fields))
                finished = build_cadence(settings, checkpoint.images.count).finished(position)
                found.append((saved, folder, finished))
    for _, folder, finished in sorted(found, key=lambda each: each[0], reverse=True):
        yield folder, finished


def load_generator(path: str | Path, device: str = "cpu") -> Generator:
    """Load the trained generator from a checkpoint, ready to draw images.

    Args:
        path: A checkpoint file, or the folder of a run, whose newest intact checkpoint counts.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``.

    Returns:
        The averaged generator where there is one, in eval mode: latents (batch, generator.latent_dim), N(0, I), to
        float32 images (batch, channels, height, width) in [-1, 1].

    Raises:
        SettingError: If there is no checkpoint, or it cannot be used.
    """
    target = resolve_device(device)
    _, checkpoint = newest_checkpoint(Path(path), "checkpoint")
    with must_fit("checkpoint", path, "does not hold the generator that it describes"):
        weights = checkpoint.state["ema"] or checkpoint.state["generator"]
        with torch.device("meta"):  # nothing is allocated before the shapes have been compared
            generator = build_generator(checkpoint.config["generator"], checkpoint.images)
        require_weights(generator, weights)
        generator.load_state_dict(weights, assign=True)
    return generator.to(target).eval().requires_grad_(False)


class _Position(NamedTuple):
    """How far a saved run has come."""

    step: int
    critic_updates: int
    critic_updates_in_step: int


def _copy(source: dict[str, Any], target: dict[str, Any], keys: list[str]) -> None:
    """Copy one setting, which may lie in a group; the rest of the group stays as it is."""
    first, *rest = keys
    if rest and isinstance(target.get(first), dict):
        target[first] = dict(target[first])
        _copy(source[first], target[first], rest)
    else:
        target[first] = source[first]


def _unusable_settings(folder: RunFolder, error: SettingError) -> SettingError:
    return SettingError("resume", folder.path, f"has a checkpoint whose settings cannot be used: {error}")
