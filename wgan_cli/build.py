"""Settings to objects: the one place that knows both."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wgan_cli.constraints import CONSTRAINTS, Clip, Constraint
from wgan_cli.data import DATASETS
from wgan_cli.data.batches import Batches
from wgan_cli.devices import autocast, fits, resolve_device, resolve_precision
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import SettingError, bind, checked, choose
from wgan_cli.players import Generator
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import Checkpoint, find_checkpoint, load_checkpoint
from wgan_cli.run.plan import describe_run
from wgan_cli.run.session import GRID_IMAGES, Run
from wgan_cli.settings import CHANGEABLE, Settings
from wgan_cli.training.ema import ema_of
from wgan_cli.training.loop import Rules
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Streams


def build_run(settings: Settings, checkpoint: Checkpoint | None = None) -> Run:
    """Build everything that a run needs, and find every mistake on the way.

    Args:
        settings: All of them; those that are null are settled here.
        checkpoint: Where a run goes on from, or None for a new one.

    Raises:
        SettingError: If a setting cannot be used, alone or beside another.
    """
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    constraint, settings, n_critic = _resolve_constraint(settings)
    loss = bind(choose(LOSSES, settings.loss, "loss"), settings.loss, "loss")
    _check_parts(settings)

    real = _load_images(settings)
    streams = Streams(settings.seed, device)
    state = _build_state(settings, tuple(real.shape[1:]), constraint, streams)
    if checkpoint is not None:
        _restore(state, checkpoint, settings.resume)

    stored = real.to(device) if fits(real.nbytes, device) else real
    orders = Streams(settings.seed, torch.device("cpu"))  # so that a run may go on, in mid-epoch, on another device
    images, generator_images = (
        Batches(stored, settings.batch_size, device, partial(orders.at, purpose))
        for purpose in ("critic images", "generator images")
    )
    rules = Rules(
        loss=loss,
        constraint=constraint,
        n_critic=n_critic,
        batch_size=settings.batch_size,
        images=images,
        generator_images=generator_images,
        streams=streams,
        autocast=autocast(precision, device),
    )
    cadence = Cadence(
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        updates_per_epoch=images.per_epoch,
        n_critic=n_critic,
        log_every=settings.log.every,
        sample_every=settings.sample.every,
        checkpoint_every=settings.checkpoint.every,
    )
    # What holds for this process only is not the run's: one that goes on is not to be stopped again unasked.
    config = asdict(replace(settings, resume=None, dry_run=False, max_minutes=None))
    return Run(
        config=config,
        state=state,
        rules=rules,
        cadence=cadence,
        max_minutes=settings.max_minutes,
        seed=settings.seed,
        real=real[:GRID_IMAGES].clone(),
        plan=describe_run(asdict(settings), state, cadence, real, precision),
    )


def _load_images(settings: Settings) -> Tensor:
    """Load the training images, of which there must be a batch at least."""
    dataset = bind(choose(DATASETS, settings.dataset, "dataset"), settings.dataset, "dataset")
    if settings.batch_size > len(dataset.train):
        allowed = f"must be at most the {len(dataset.train):,} training images"
        raise SettingError("batch_size", settings.batch_size, allowed)
    return dataset.train


def _build_state(
    settings: Settings, image_shape: tuple[int, ...], constraint: Constraint, streams: Streams
) -> TrainingState:
    """Build the players, each from a random stream of its own, and their optimizers."""
    streams.seed_global("network weights", 0)
    generator = build_generator(settings.generator, image_shape)
    streams.seed_global("network weights", 1)
    critic = _build_critic(settings.critic, image_shape, constraint)
    for network in (generator, critic):
        network.to(streams.device).to(memory_format=torch.channels_last)
    layers = [*generator.modules(), *critic.modules()]
    if settings.batch_size == 1 and any(isinstance(layer, nn.BatchNorm1d) for layer in layers):
        raise SettingError("batch_size", 1, "must be at least 2 where a network has BatchNorm")
    part = choose(OPTIMIZERS, settings.optimizer, "optimizer")
    optimizers = bind(part, settings.optimizer, "optimizer", generator=generator, critic=critic)
    return TrainingState(generator, critic, *optimizers, ema=ema_of(generator) if settings.ema else None)


def build_generator(settings: Mapping[str, Any], image_shape: tuple[int, ...]) -> Generator:
    """Build a generator for images of a shape (channels, size, size), from the registry alone.

    Raises:
        SettingError: If its settings cannot be used.
    """
    part = choose(GENERATORS, settings, "generator")
    return bind(part, settings, "generator", image_size=image_shape[1], channels=image_shape[0])


def resume_run(folder: Path, changed: Settings, given: list[str]) -> Run:
    """Build the run that goes on where a folder's last checkpoint ends.

    Args:
        folder: A run's folder.
        changed: The settings of the command line, of which only those count that a resumed run may change.
        given: The keys that the command line names.

    Raises:
        SettingError: If there is nothing to go on with, or a key is given that must stay as it was.
    """
    file = find_checkpoint(folder, "resume")
    if not folder.is_dir():
        raise SettingError("resume", folder, "is no folder; give the folder of a run")
    checkpoint = load_checkpoint(file, "resume")
    settings = bind(Settings, checkpoint.config)
    allowed = {}
    for key in given:
        top = key.partition(".")[0]
        if top == "resume":
            continue
        if top not in CHANGEABLE:
            raise SettingError(
                "resume", folder, f"a run that goes on keeps its {key}; it may change {', '.join(CHANGEABLE)}"
            )
        allowed[top] = getattr(changed, top)
    return build_run(replace(settings, **allowed, resume=str(folder)), checkpoint)


def load_generator(path: str | Path, device: str = "cpu", key: str = "checkpoint") -> Generator:
    """Load the trained generator from a checkpoint, ready to draw images.

    Args:
        path: A checkpoint file, or the folder of a run, whose newest checkpoint counts.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``.
        key: What to call the path in messages.

    Returns:
        The averaged generator where there is one, in eval mode: latents (batch, generator.latent_dim), N(0, I), to
        float32 images (batch, channels, height, width) in [-1, 1].

    Raises:
        SettingError: If there is no checkpoint, or it cannot be used.
    """
    target = resolve_device(device)
    file = find_checkpoint(Path(path), key)
    checkpoint = load_checkpoint(file, key)
    try:
        weights = checkpoint.state["ema"] or checkpoint.state["generator"]
        with torch.device("meta"):  # nothing is allocated before the shapes have been compared
            generator = build_generator(checkpoint.config["generator"], checkpoint.image_shape)
        expected = generator.state_dict()
        if any(weight.dtype != expected[name].dtype for name, weight in weights.items() if name in expected):
            raise TypeError("its weights are of another type")
        generator.load_state_dict(weights, assign=True)
    except (SettingError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(key, path, f"does not hold the generator that it describes ({reason})") from error
    return generator.to(target).eval().requires_grad_(False)


def _resolve_constraint(settings: Settings) -> tuple[Constraint, Settings, int]:
    """Build the constraint, and settle what ``n_critic: null`` and ``clip_value: null`` leave to it.

    Returns:
        The constraint, the settings that are in force, and n_critic.
    """
    part = choose(CONSTRAINTS, settings.constraint, "constraint")
    chosen = dict(settings.constraint)
    if settings.clip_value is not None:
        if not issubclass(part, Clip):
            allowed = f"constraint={chosen['name']} does not clip; leave clip_value out or choose constraint=clip"
            raise SettingError("clip_value", settings.clip_value, allowed)
        chosen["clip_value"] = settings.clip_value
    constraint = bind(part, chosen, "constraint")
    clip_value = constraint.clip_value if isinstance(constraint, Clip) else None
    n_critic = settings.n_critic or constraint.usual_n_critic
    return constraint, replace(settings, constraint=chosen, clip_value=clip_value, n_critic=n_critic), n_critic


def _build_critic(settings: Mapping[str, Any], image_shape: tuple[int, ...], constraint: Constraint) -> nn.Module:
    part = choose(CRITICS, settings, "critic")
    critic = bind(part, settings, "critic", image_size=image_shape[1], channels=image_shape[0])
    if constraint.penalizes_gradients and any(isinstance(module, _BatchNorm) for module in critic.modules()):
        raise SettingError(
            "critic.normalization",
            settings.get("normalization", "batch"),
            "with BatchNorm a score depends on the whole batch, and a gradient penalty is about single images; "
            "use critic.normalization=layer or none",
        )
    return constraint.wrap(critic)


def _check_parts(settings: Settings) -> None:
    """Find what is wrong with any part's settings before the data is read, which may take minutes."""
    image, players = ("image_size", "channels"), ("generator", "critic")
    checked(choose(DATASETS, settings.dataset, "dataset"), settings.dataset, "dataset")
    checked(choose(GENERATORS, settings.generator, "generator"), settings.generator, "generator", image)
    checked(choose(CRITICS, settings.critic, "critic"), settings.critic, "critic", image)
    checked(choose(OPTIMIZERS, settings.optimizer, "optimizer"), settings.optimizer, "optimizer", players)


def _restore(state: TrainingState, checkpoint: Checkpoint, folder: str | None) -> None:
    try:
        state.load_state_dict(checkpoint.state)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(
            "resume", folder, f"has a checkpoint that does not fit the run that it describes ({reason})"
        ) from error
