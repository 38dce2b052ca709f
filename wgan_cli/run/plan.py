"""What a run will do, and how much disk it needs, before it starts."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wgan_cli.data.dataset import DataSpec
from wgan_cli.errors import InputError, list_names
from wgan_cli.run.cadence import Cadence
from wgan_cli.settings import Settings
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState, find_slots


def describe_run(settings: Settings, state: TrainingState, cadence: Cadence, data: DataSpec, precision: str) -> str:
    """Return the plan, one line for each part of the run.

    Args:
        settings: Every setting in force.
        state: At the start, or from a checkpoint.
        cadence: When outputs are due.
        data: The training samples.
        precision: Of forward passes.
    """
    files, size = count_checkpoints(state, cadence, settings.checkpoint.keep), measure_checkpoint(state)
    averaged = ", averaged for samples" if state.ema else ""
    generator = f"{_count_parameters(state.generator):,} parameters{averaged}"
    lines = {
        "device": f"{_describe_device(state.device)}, {precision}",
        "images": _describe_data(settings, data),
        "generator": f"{_describe_part(settings.generator)}, {generator}",
        "critic": f"{_describe_part(settings.critic)}, {_count_parameters(state.critic):,} parameters",
        "loss": f"{_describe_part(settings.loss)}, constraint {_describe_part(settings.constraint)}, "
        f"n_critic {_describe_schedule(cadence.schedule)}",
        "optimizer": _describe_part(settings.optimizer),
        "length": _describe_length(settings, cadence),
        "checkpoints": f"{files} of {size / 1e6:.1f} MB, {files * size / 1e6:,.1f} MB in total"
        if files
        else f"{size / 1e6:.1f} MB each",
    }
    if state.position.critic_updates:
        epoch = cadence.epochs_done(state.position) + 1
        lines["resumes"] = f"after step {state.position.step:,}, in epoch {epoch}"
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


def measure_checkpoint(state: TrainingState) -> int:
    """Return the size of one checkpoint in bytes: networks, average, and what the optimizers will store."""
    networks = [state.generator, state.critic, *([state.ema] if state.ema else [])]
    total: int = sum(tensor.nbytes for network in networks for tensor in network.state_dict().values())
    for optimizer in (state.generator_optimizer, state.critic_optimizer):
        per_value = sum(not is_scalar for is_scalar in find_slots(optimizer).values())
        total += per_value * sum(weight.nbytes for group in optimizer.param_groups for weight in group["params"])
    return total


def count_checkpoints(state: TrainingState, cadence: Cadence, keep: int | None) -> int | None:
    """Return how many checkpoints the rest of the run leaves, at most ``keep``; None if only the time limits it."""
    if cadence.total_updates is None:
        return keep
    epochs = -(-cadence.total_updates // cadence.updates_per_epoch) - cadence.epochs_done(state.position)
    files = max(1, -(-epochs // cadence.checkpoint_every))
    return files if keep is None else min(files, keep)


def check_space(folder: Path, size: int, files: int | None) -> str | None:
    """Compare the free disk space with what the checkpoints need.

    Args:
        folder: The run's folder; it need not exist yet.
        size: Of one checkpoint, in bytes.
        files: How many there will be, or None.

    Returns:
        A warning if there is not enough space for all of them.

    Raises:
        InputError: If there is not enough space for two, which replacing one needs.
    """
    existing = next(place for place in [folder, *folder.absolute().parents] if place.exists())
    free = shutil.disk_usage(existing).free
    if free < 2 * size:
        needed = 2 * size
        raise InputError(f"needs {needed / 1e6:,.1f} MB for two checkpoints; {existing} has {free / 1e6:,.1f} MB left")
    needed = ((files or 1) + 1) * size
    if free < needed:
        return (
            f"the checkpoints need {needed / 1e6:,.1f} MB, and {existing} has {free / 1e6:,.1f} MB left; "
            "checkpoint.keep=3 keeps only the newest three"
        )
    return None


def _describe_device(device: torch.device) -> str:
    if device.type == "cpu":
        count = torch.get_num_threads()
        return f"cpu, {_count(count, 'thread')}"
    return f"{device} ({torch.cuda.get_device_name(device)})"


def _describe_data(settings: Settings, data: DataSpec) -> str:
    sizes = settings.batch_size, settings.generator_batch_size
    batches = str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]}, {sizes[1]} for the generator"
    shape = "×".join(map(str, data.shape))
    text = f"{settings.dataset['name']}, {data.count:,} for training, {shape}, batches of {batches}"
    if settings.dataset.get("flip"):
        text += ", flipped at random"
    return f"{text}, {data.num_classes} classes ({list_names(data.class_names)})" if data.class_names else text


def _describe_schedule(schedule: CriticSchedule) -> str:
    """Describe the critic updates before each step."""
    if not schedule.warmup_updates:
        return str(schedule.n_critic)
    first = [f"the first {schedule.warmup_steps} steps"] if schedule.warmup_steps else []
    then = [f"every {schedule.warmup_every}th step"] if schedule.warmup_every else []
    return f"{schedule.n_critic} ({schedule.warmup_updates} in {' and '.join(first + then)})"


def _describe_length(settings: Settings, cadence: Cadence) -> str:
    limits = [] if settings.max_minutes is None else [f"{_count(settings.max_minutes, 'minute')}"]
    if cadence.total_updates is not None:
        epochs = cadence.total_updates / cadence.updates_per_epoch
        limits = [f"{_count(epochs, 'epoch')}, {_count(cadence.total_steps or 0, 'step')}", *limits]
    return f"{' or '.join(limits)}; an epoch has {_count(cadence.updates_per_epoch, 'critic update')}"


def _count(number: float, noun: str) -> str:
    text = f"{number:,.4g}" if number % 1 else f"{number:,.0f}"
    return f"{text} {noun}" if number == 1 else f"{text} {noun}s"


def _count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _describe_part(part: Mapping[str, Any]) -> str:
    """Return the name of a part and its settings."""
    settings = ", ".join(f"{key} {value}" for key, value in part.items() if key != "name" and value is not None)
    return f"{part['name']} ({settings})" if settings else str(part["name"])
