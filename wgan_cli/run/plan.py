"""What a run is going to do, in a few lines, before it does it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wgan_cli.run.cadence import Cadence
from wgan_cli.run.space import checkpoint_bytes, checkpoint_files
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState


def describe_run(
    config: Mapping[str, Any], state: TrainingState, cadence: Cadence, images: Tensor, precision: str
) -> str:
    """Return the plan.

    Args:
        config: Every setting in force.
        state: The players; where they have come already, if the run goes on.
        cadence: How long, and what is written when.
        images: The training images, (N, channels, height, width).
        precision: Of forward passes.
    """
    device = str(state.device)
    if state.device.type == "cpu":
        device += f", {torch.get_num_threads()} threads"
    elif state.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(state.device)})"
    optimizer, constraint = _settings(config["optimizer"]), _settings(config["constraint"])
    files = checkpoint_files(state, cadence, config["checkpoint"]["keep"])
    size = checkpoint_bytes(state)
    limits = [
        f"{config[key]} {word}" for key, word in (("max_steps", "steps"), ("max_minutes", "minutes")) if config[key]
    ]
    lines = {
        "device": f"{device}, {precision}",
        "images": f"{config['dataset']['name']}, {len(images):,} to train on, {'×'.join(map(str, images.shape[1:]))}, "
        f"batches of {_batches(config)}" + _use(config["dataset"], state.generator.num_classes),
        "generator": f"{config['generator']['name']}, {_count(state.generator):,} parameters"
        + (", averaged for samples" if state.ema else ""),
        "critic": f"{config['critic']['name']}, {_count(state.critic):,} parameters",
        "loss": f"{config['loss']['name']}, constraint {constraint}, n_critic {_schedule(cadence.schedule)}",
        "optimizer": optimizer,
        "epochs": f"{cadence.epochs}, of {cadence.updates_per_epoch:,} critic updates each; "
        f"{cadence.total_steps:,} steps in all" + (f", at most {' or '.join(limits)}" if limits else ""),
        "checkpoints": f"{files} of {size / 1e6:.1f} MB, {files * size / 1e6:,.1f} MB in all",
    }
    if state.critic_updates:
        lines["goes on"] = f"after step {state.step:,}, in epoch {cadence.epochs_done(state) + 1}"
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


def _batches(config: Mapping[str, Any]) -> str:
    sizes = config["batch_size"], config["generator_batch_size"]
    return str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]}, {sizes[1]} for the generator"


def _use(dataset: Mapping[str, Any], num_classes: int | None) -> str:
    """Write how training uses the images, where that is out of the ordinary."""
    flip = ", mirrored at random" if dataset.get("flip") else ""
    return flip + (f", of {num_classes} classes" if num_classes else "")


def _schedule(schedule: CriticSchedule) -> str:
    """Write how many critic updates there are before each step."""
    if not schedule.warmup_updates:
        return str(schedule.n_critic)
    first = [f"the first {schedule.warmup_steps} steps"] if schedule.warmup_steps else []
    then = [f"each step that is a multiple of {schedule.warmup_every}"] if schedule.warmup_every else []
    return f"{schedule.n_critic} ({schedule.warmup_updates} in {' and '.join(first + then)})"


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _settings(part: Mapping[str, Any]) -> str:
    """Write a part as its name and its settings."""
    settings = ", ".join(f"{key} {value}" for key, value in part.items() if key != "name" and value is not None)
    return f"{part['name']} ({settings})" if settings else str(part["name"])
