"""The moving average of the generator's weights. Grids and samples use it, training does not."""

import copy

import torch
from torch import nn

from wgan_cli.networks.players import Generator


def copy_for_average(generator: Generator) -> Generator:
    """Return a copy of the generator to hold the average, in eval mode and without gradients."""
    return copy.deepcopy(generator).eval().requires_grad_(False)


@torch.no_grad()
def update_ema(average: nn.Module, generator: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the generator after a step.

    The decay grows with the steps, so that the initial weights are soon forgotten. Buffers, such as BatchNorm's running
    statistics, are already averages and are copied.

    Args:
        average: Changed in place.
        generator: The network in training.
        step: Generator updates before this one.
        decay: The share of the average that stays, once it has grown: from 0 to below 1.

    Source: the decay min(decay, (1 + step) / (10 + step)) is that of TensorFlow's ExponentialMovingAverage.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), share)
    for mine, theirs in zip(average.buffers(), generator.buffers(), strict=True):
        mine.copy_(theirs)
