"""What a terminal or a notebook shows of a run in training."""

import shutil
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm

from wgan_cli.run.cadence import Cadence
from wgan_cli.training.schedule import Position

# The numbers by importance, with their names on a narrow terminal.
SHORT = {"wasserstein_estimate": "W", "critic_loss": "critic", "generator_loss": "generator", "penalty": "penalty"}
RATE_AND_TIME = 36  # columns for the percentage, the rate and the time that is left


def open_bar(cadence: Cadence, batch_size: int, position: Position) -> "tqdm[Any]":
    """Return a progress bar that counts images. It shows nothing outside a terminal or a notebook."""
    updates = cadence.total_updates
    share = "" if updates is None else "  {percentage:.0f}%"
    time = "{elapsed}" if updates is None else "{remaining} left"
    return tqdm(
        total=None if updates is None else updates * batch_size,
        initial=position.critic_updates * batch_size,
        desc=format_position(cadence, position),
        unit=" images",
        unit_scale=True,
        disable=None,
        dynamic_ncols=True,
        bar_format=f"{{desc}}{share}  {{rate_fmt}}  {time}{{postfix}}",
    )


def advance_bar(bar: "tqdm[Any]", cadence: Cadence, batch_size: int, position: Position) -> None:
    """Show how far training has come."""
    bar.set_description_str(format_position(cadence, position), refresh=False)
    bar.update(position.critic_updates * batch_size - bar.n)


def show_numbers(bar: "tqdm[Any]", measured: Mapping[str, float]) -> None:
    """Show what was measured beside the bar."""
    room = shutil.get_terminal_size().columns - len(bar.desc) - RATE_AND_TIME
    bar.set_postfix_str(choose_numbers(measured, room))


def format_position(cadence: Cadence, position: Position) -> str:
    """Return the current epoch and step."""
    total = "" if cadence.epochs is None else f"/{cadence.epochs}"
    return f"epoch {cadence.epoch(position)}{total}  step {position.step:,}"


def format_numbers(measured: Mapping[str, float], digits: int) -> dict[str, str]:
    """Return numbers as text. A penalty that is 0 is left out: the constraint has none."""
    shown = {name: value for name, value in measured.items() if value or name != "penalty"}
    return {name: f"{name} {value:.{digits}g}" for name, value in shown.items()}


def choose_numbers(measured: Mapping[str, float], room: int) -> str:
    """Return as many numbers as fit, the most important first, which gets a short name if that helps."""
    numbers = format_numbers(measured, digits=3)
    texts = [numbers[name] for name in SHORT if name in numbers]
    while len(texts) > 1 and len(", ".join(texts)) > room:
        texts.pop()
    if len(texts) == 1 and len(texts[0]) > room:
        name, _, value = texts[0].partition(" ")
        texts = [f"{SHORT[name]} {value}"]
    return ", ".join(texts) if sum(map(len, texts)) <= room else ""
