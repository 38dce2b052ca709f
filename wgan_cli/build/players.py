"""The two networks, built from the registries alone."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from wgan_cli.constraints import Constraint
from wgan_cli.data.dataset import DataSpec
from wgan_cli.errors import SettingError
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.networks.players import Batch, Generator, mixes_samples
from wgan_cli.parameters import bind, choose
from wgan_cli.run.checkpoints import Checkpoint, refuse_misfits
from wgan_cli.settings import Settings
from wgan_cli.training.state import require_weights, take
from wgan_cli.training.streams import Streams

DOES_NOT_FIT = "has a checkpoint that does not fit the run that it describes"


def build_players(
    settings: Settings, data: DataSpec, constraint: Constraint, streams: Streams
) -> tuple[Generator, nn.Module]:
    """Build both networks, each with weights from its own random stream.

    Raises:
        SettingError: If a network's settings cannot be used, or a batch is too small for it.
    """
    streams.seed_global("network weights", 0)
    generator = build_generator(settings.generator, data)
    streams.seed_global("network weights", 1)
    critic = build_critic(settings.critic, data, constraint)
    if any(isinstance(layer, nn.BatchNorm1d) for layer in (*generator.modules(), *critic.modules())):
        for key in ("batch_size", "generator_batch_size"):
            if getattr(settings, key) == 1:
                raise SettingError(key, 1, "must be at least 2 for a network with BatchNorm")
    return generator, critic


def build_generator(settings: Mapping[str, Any], data: DataSpec) -> Generator:
    """Build a generator for these samples.

    Args:
        settings: Its name and its settings.
        data: The shape of a sample, and the classes if training uses them.

    Raises:
        SettingError: If its settings cannot be used.
    """
    part = choose(GENERATORS, settings, "generator")
    generator = bind(part, settings, "generator", **_supply(part, data))
    generator.num_classes, generator.class_names = data.num_classes, data.class_names or ()
    return generator


def build_critic(settings: Mapping[str, Any], data: DataSpec, constraint: Constraint) -> nn.Module:
    """Build a critic for these samples, under a constraint.

    Raises:
        SettingError: If its settings are invalid, or do not suit the constraint.
    """
    part = choose(CRITICS, settings, "critic")
    critic = bind(part, settings, "critic", **_supply(part, data))
    if constraint.penalizes_gradients and mixes_samples(critic):
        raise SettingError(
            "critic.normalization",
            settings.get("normalization", "batch"),
            "BatchNorm makes a score depend on the whole batch, and a gradient penalty needs the gradient of single "
            "samples; use critic.normalization=layer or none",
        )
    return constraint.wrap(critic)


@torch.no_grad()
def require_shapes(generator: Generator, critic: nn.Module, data: DataSpec, device: torch.device) -> None:
    """Check what both networks return for a batch of two. A user's own network may get this wrong.

    Raises:
        SettingError: If a shape is wrong.
    """
    classes = None if data.num_classes is None else torch.zeros(2, dtype=torch.int64, device=device)
    samples = torch.zeros(2, *data.shape, device=device)
    latents = torch.zeros(2, generator.latent_dim, device=device)
    for key, player, batch, expected in (
        ("generator", generator, Batch(latents, classes), samples.shape),
        ("critic", critic, Batch(samples, classes), samples.shape[:1]),
    ):
        was_training = player.training
        found = tuple(player.eval()(*batch).shape)
        player.train(was_training)
        if found != tuple(expected):
            given = tuple(batch.samples.shape)
            raise SettingError(key, type(player).__name__, f"maps {given} to {found}; must be {tuple(expected)}")


def check_players(settings: Settings, constraint: Constraint, streams: Streams, checkpoint: Checkpoint | None) -> None:
    """Build both networks without allocating weights, to find mistakes before the data is read.

    Raises:
        InputError: If one cannot be built, or the checkpoint's weights do not fit.
    """
    if checkpoint is not None:
        with refuse_misfits(DOES_NOT_FIT), torch.device("meta"):
            generator, critic = build_players(settings, checkpoint.data, constraint, streams)
            tensors = dict(checkpoint.tensors)
            require_weights(generator, take(tensors, "generator."))
            require_weights(critic, take(tensors, "critic."))
        return
    size, channels = (settings.dataset.get(key) for key in ("image_size", "channels"))
    if size is not None and channels is not None:  # a user's dataset may lack them
        class_names = ("any",) if settings.dataset.get("conditional") else None
        with torch.device("meta"):
            build_players(settings, DataSpec((channels, size, size), class_names, 1, ""), constraint, streams)


def can_know_classes(part: Callable[..., object]) -> bool:
    """Return whether a network can be built for samples with classes."""
    return "num_classes" in inspect.signature(part).parameters


def _supply(part: Callable[..., object], data: DataSpec) -> dict[str, Any]:
    """Return the arguments that a network takes from the data."""
    supplied: dict[str, Any] = {"sample_shape": data.shape, "num_classes": data.num_classes}
    if len(data.shape) == 3:
        supplied |= {"channels": data.shape[0], "image_size": data.shape[1]}
    return {name: supplied[name] for name in supplied if name in inspect.signature(part).parameters}
