"""Builds a resumed run or a trained generator from a checkpoint, whose author is not trusted."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from wgan_cli.build.players import build_generator
from wgan_cli.build.plugins import require_parts
from wgan_cli.build.run import build_run
from wgan_cli.build.settle import build_cadence, settle
from wgan_cli.devices import resolve_device
from wgan_cli.errors import InputError, SettingError, blame
from wgan_cli.files import parse_path
from wgan_cli.networks.players import Generator
from wgan_cli.parameters import bind
from wgan_cli.run.checkpoints import find_checkpoint, peek, refuse_misfits
from wgan_cli.run.folder import RunFolder, find_runs
from wgan_cli.run.session import Run
from wgan_cli.settings import CHANGEABLE, OF_THIS_PROCESS, Settings, require_changeable, select_storable
from wgan_cli.training.state import load_weights, require_weights, take


def resume_run(path: Path, changed: Settings, given: Sequence[str]) -> tuple[Run, Path]:
    """Build the run that continues from a checkpoint.

    Args:
        path: A checkpoint file, or the folder of a run, whose newest intact checkpoint is used.
        changed: The settings of the command line. Only changeable ones are used.
        given: The keys on the command line.

    Returns:
        The run, and the checkpoint file that it continues from.

    Raises:
        InputError: If no checkpoint can be used, or a given key may not change.
        OSError: If the folder cannot be read.
    """
    require_changeable(path, given)
    file, checkpoint = find_checkpoint(path)
    require_parts(checkpoint.config)
    config = dict(checkpoint.config)
    for key in given:
        _copy_setting(asdict(changed), config, key.split("."))
    this_process = {key: getattr(changed, key) for key in OF_THIS_PROCESS} | {"resume": str(path)}
    own: tuple[str, ...] = tuple(given)  # the keys whose errors are about this command line or this machine
    try:
        settings = replace(bind(Settings, config), **this_process)
        own += CHANGEABLE
        return build_run(settings, checkpoint), file
    except SettingError as error:
        if error.key == "dataset.root" and error.key not in given:
            _, root, _ = error.args
            relative = not Path(str(root)).is_absolute()
            hint = ", relative to the folder that the run was started in" if relative else ""
            raise InputError(f"{error}{hint}; if the images have moved, add dataset.root=FOLDER") from error
        if error.key in own:
            raise
        raise InputError(f"has a checkpoint whose settings cannot be used: {error}") from error


def find_earlier_runs(root: Path, settings: Settings, out: Path) -> Iterator[tuple[RunFolder, bool]]:
    """Find the runs with these settings in a folder, at any depth.

    The images and plugins may have moved. In ``out`` itself, all settings that a resumed run can change may differ.

    Yields:
        The folder of a run, and whether the run is finished. The last saved run comes first.
    """
    settings = settle(settings)
    config = select_storable(settings)
    found = []

    def is_same(stored: dict[str, Any], folder: RunFolder) -> bool:
        ignored = CHANGEABLE if folder.path == out else ("dataset.root", "plugins")
        return _leave_out(ignored, stored) == _leave_out(ignored, config)

    for folder in find_runs(root):
        with suppress(OSError):  # unreadable, or changed by another process meanwhile
            files = folder.checkpoints()
            saved = max((file.stat().st_mtime for file in files), default=0)
            checkpoint = next(filter(None, map(peek, files)), None)
            if checkpoint is not None and is_same(checkpoint.config, folder):
                finished = build_cadence(settings, checkpoint.data.count).finished(checkpoint.position)
                found.append((saved, folder, finished))
    for _, folder, finished in sorted(found, key=lambda each: each[0], reverse=True):
        yield folder, finished


def load_generator(path: str | Path, device: str = "cpu") -> Generator:
    """Load the trained generator from a checkpoint, ready to draw samples.

    Args:
        path: A checkpoint file, or the folder of a run, whose newest intact checkpoint is used.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``.

    Returns:
        The averaged generator if there is one, in eval mode. It maps latents (batch, generator.latent_dim), drawn from
        N(0, I), to float32 images (batch, channels, height, width) in [-1, 1].

    Raises:
        ValueError: If there is no checkpoint, or it cannot be used.
    """
    target = resolve_device(device)
    with blame("checkpoint", path):
        _, checkpoint = find_checkpoint(parse_path(str(path)))
        require_parts(checkpoint.config, ["generator"])
        with refuse_misfits("does not contain the generator that it describes"):
            tensors = dict(checkpoint.tensors)
            weights = take(tensors, "ema.") or take(tensors, "generator.")
            with torch.device("meta"):  # compare shapes before allocating memory
                generator = build_generator(checkpoint.config["generator"], checkpoint.data)
            require_weights(generator, weights)
            generator = generator.to_empty(device=target).to(memory_format=torch.channels_last)
            load_weights(generator, weights)
    return generator.eval().requires_grad_(False)


def _leave_out(keys: Sequence[str], config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without some settings, which may be inside groups."""
    kept = {}
    for name, value in config.items():
        inner = [key.removeprefix(f"{name}.") for key in keys if key.startswith(f"{name}.")]
        if name not in keys:
            kept[name] = _leave_out(inner, value) if inner and isinstance(value, dict) else value
    return kept


def _copy_setting(source: dict[str, Any], target: dict[str, Any], keys: list[str]) -> None:
    """Copy one setting, which may be inside a group. The rest of the group is unchanged."""
    first, *rest = keys
    if rest and isinstance(target.get(first), dict):
        target[first] = dict(target[first])
        _copy_setting(source[first], target[first], rest)
    else:
        target[first] = source[first]
