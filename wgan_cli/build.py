"""Settings to objects: the one place that knows both."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wgan_cli.constraints import CONSTRAINTS, Clip, Constraint
from wgan_cli.data import DATASETS, Dataset
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
from wgan_cli.run.session import Run
from wgan_cli.sampling import GRID_IMAGES
from wgan_cli.settings import CHANGEABLE, DatasetUse, Settings
from wgan_cli.training.ema import ema_of
from wgan_cli.training.loop import Rules
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Purpose, Streams


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
    constraint, settings, schedule = _resolve_constraint(settings)
    loss = bind(choose(LOSSES, settings.loss, "loss"), settings.loss, "loss")
    _check_parts(settings)

    generator_batch_size = settings.generator_batch_size or settings.batch_size
    settings = replace(settings, generator_batch_size=generator_batch_size)
    dataset, use = _load_dataset(settings)
    streams = Streams(settings.seed, device)
    images, generator_images = _build_batches(dataset, use, (settings.batch_size, generator_batch_size), streams)
    cadence = Cadence(
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        updates_per_epoch=images.per_epoch,
        schedule=schedule,
        log_every=settings.log.every,
        sample_every=settings.sample.every,
        checkpoint_every=settings.checkpoint.every,
    )
    num_classes = dataset.num_classes if use.conditional else None
    state = _build_state(settings, tuple(dataset.train.shape[1:]), num_classes, constraint, streams, cadence)
    if checkpoint is not None:
        _restore(state, checkpoint, settings.resume)
    rules = Rules(
        loss=loss,
        constraint=constraint,
        schedule=schedule,
        generator_batch_size=generator_batch_size,
        images=images,
        generator_images=generator_images,
        streams=streams,
        autocast=autocast(precision, device),
    )
    # What holds for this process only is not the run's: one that goes on is not to be stopped again unasked.
    config = asdict(replace(settings, resume=None, dry_run=False, max_minutes=None))
    return Run(
        config=config,
        state=state,
        rules=rules,
        cadence=cadence,
        batch_size=settings.batch_size,
        max_minutes=settings.max_minutes,
        seed=settings.seed,
        real=dataset.train[:GRID_IMAGES].clone(),
        plan=describe_run(asdict(settings), state, cadence, dataset.train, precision),
    )


def _load_dataset(settings: Settings) -> tuple[Dataset, DatasetUse]:
    """Load the images, of which there must be a batch at least, and see how training is to use them."""
    own, use = _split(settings.dataset)
    dataset = bind(choose(DATASETS, own, "dataset"), own, "dataset")
    if use.conditional and dataset.num_classes is None:
        raise SettingError("dataset.conditional", True, f"{own['name']} has no classes here; leave it out")
    for key in ("batch_size", "generator_batch_size"):
        if (size := getattr(settings, key)) > len(dataset.train):
            raise SettingError(key, size, f"must be at most the {len(dataset.train):,} training images")
    return dataset, use


def _split(dataset: Mapping[str, Any]) -> tuple[dict[str, Any], DatasetUse]:
    """Divide a dataset's settings into those of its own part and those that every dataset has."""
    common = {field.name for field in fields(DatasetUse)}
    own = {key: value for key, value in dataset.items() if key not in common}
    return own, bind(DatasetUse, {key: dataset[key] for key in common & dataset.keys()}, "dataset")


def _build_batches(
    dataset: Dataset, use: DatasetUse, sizes: tuple[int, int], streams: Streams
) -> tuple[Batches, Batches]:
    """Make batches of the training images for the critic's and for the generator's updates, each in its own order."""
    device = streams.device
    stored = dataset.train.to(device) if fits(dataset.train.nbytes, device) else dataset.train
    labels = dataset.train_labels.to(stored.device) if use.conditional and dataset.train_labels is not None else None
    orders = Streams(streams.seed, torch.device("cpu"))  # so that a run may go on, in mid-epoch, on another device

    def batches(size: int, order: Purpose, flips: Purpose) -> Batches:
        flip = partial(streams.at, flips) if use.flip else None
        return Batches(stored, size, device, partial(orders.at, order), labels, flip)

    return (
        batches(sizes[0], "critic images", "critic flips"),
        batches(sizes[1], "generator images", "generator flips"),
    )


def _build_state(
    settings: Settings,
    image_shape: tuple[int, ...],
    num_classes: int | None,
    constraint: Constraint,
    streams: Streams,
    cadence: Cadence,
) -> TrainingState:
    """Build the players, each from a random stream of its own, and their optimizers."""
    streams.seed_global("network weights", 0)
    generator = build_generator(settings.generator, image_shape, num_classes)
    streams.seed_global("network weights", 1)
    critic = _build_critic(settings.critic, image_shape, num_classes, constraint)
    for network in (generator, critic):
        network.to(streams.device).to(memory_format=torch.channels_last)
    layers = [*generator.modules(), *critic.modules()]
    if any(isinstance(layer, nn.BatchNorm1d) for layer in layers):
        for key in ("batch_size", "generator_batch_size"):
            if getattr(settings, key) == 1:
                raise SettingError(key, 1, "must be at least 2 where a network has BatchNorm")

    steps = max(1, cadence.total_steps)

    def progress() -> float:
        return state.step / steps

    part = choose(OPTIMIZERS, settings.optimizer, "optimizer")
    optimizers = bind(part, settings.optimizer, "optimizer", generator=generator, critic=critic, progress=progress)
    state: TrainingState = TrainingState(
        generator, critic, *optimizers, ema=ema_of(generator) if settings.ema else None
    )
    return state


def build_generator(
    settings: Mapping[str, Any], image_shape: tuple[int, ...], num_classes: int | None = None
) -> Generator:
    """Build a generator for images of a shape (channels, size, size), from the registry alone.

    Args:
        settings: Its name, and its own settings.
        image_shape: (channels, size, size).
        num_classes: Of the images, or None where the generator is to know none.

    Raises:
        SettingError: If its settings cannot be used.
    """
    part = choose(GENERATORS, settings, "generator")
    generator = bind(part, settings, "generator", **_supplied(part, image_shape, num_classes))
    generator.num_classes = num_classes  # which one of a user's own need not have remembered
    return generator


def _supplied(
    part: Callable[..., object], image_shape: tuple[int, ...], num_classes: int | None
) -> dict[str, int | None]:
    """Return what a network gets beside its settings; one that knows nothing of classes is not told of them."""
    supplied = {"image_size": image_shape[1], "channels": image_shape[0]}
    return supplied | ({"num_classes": num_classes} if _knows_classes(part) else {})


def _knows_classes(part: Callable[..., object]) -> bool:
    return "num_classes" in inspect.signature(part).parameters


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
            generator = build_generator(checkpoint.config["generator"], checkpoint.image_shape, checkpoint.num_classes)
        expected = generator.state_dict()
        if any(weight.dtype != expected[name].dtype for name, weight in weights.items() if name in expected):
            raise TypeError("its weights are of another type")
        generator.load_state_dict(weights, assign=True)
    except (SettingError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(key, path, f"does not hold the generator that it describes ({reason})") from error
    return generator.to(target).eval().requires_grad_(False)


def _resolve_constraint(settings: Settings) -> tuple[Constraint, Settings, CriticSchedule]:
    """Build the constraint, and settle what ``n_critic: null`` and ``clip_value: null`` leave to it.

    Returns:
        The constraint, the settings that are in force, and how many critic updates come before each step.
    """
    part = choose(CONSTRAINTS, settings.constraint, "constraint")
    chosen = dict(settings.constraint)
    if settings.clip_value is not None:
        if not issubclass(part, Clip):
            allowed = (
                f"constraint={chosen['name']} does not clip; clip_value=null leaves it out, or choose constraint=clip"
            )
            raise SettingError("clip_value", settings.clip_value, allowed)
        chosen["clip_value"] = settings.clip_value
    constraint = bind(part, chosen, "constraint")
    clip_value = constraint.clip_value if isinstance(constraint, Clip) else None
    n_critic = settings.n_critic or constraint.usual_n_critic
    schedule = CriticSchedule(n_critic)
    if (warmup := settings.critic_warmup) is not None:
        if not warmup.steps and warmup.every is None:
            raise SettingError("critic_warmup", asdict(warmup), "would never happen; it needs steps, every or both")
        schedule = CriticSchedule(n_critic, warmup.updates, warmup.steps, warmup.every)
    return constraint, replace(settings, constraint=chosen, clip_value=clip_value, n_critic=n_critic), schedule


def _build_critic(
    settings: Mapping[str, Any], image_shape: tuple[int, ...], num_classes: int | None, constraint: Constraint
) -> nn.Module:
    part = choose(CRITICS, settings, "critic")
    critic = bind(part, settings, "critic", **_supplied(part, image_shape, num_classes))
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
    image, players = ("image_size", "channels", "num_classes"), ("generator", "critic", "progress")
    own, use = _split(settings.dataset)
    checked(choose(DATASETS, own, "dataset"), own, "dataset")
    networks = {"generator": choose(GENERATORS, settings.generator, "generator"),
                "critic": choose(CRITICS, settings.critic, "critic")}  # fmt: skip
    for key, part in networks.items():
        checked(part, getattr(settings, key), key, image)
        if use.conditional and not _knows_classes(part):
            name = getattr(settings, key)["name"]
            raise SettingError("dataset.conditional", True, f"{key}={name} cannot be told of classes")
    checked(choose(OPTIMIZERS, settings.optimizer, "optimizer"), settings.optimizer, "optimizer", players)


def _restore(state: TrainingState, checkpoint: Checkpoint, folder: str | None) -> None:
    try:
        state.load_state_dict(checkpoint.state)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(
            "resume", folder, f"has a checkpoint that does not fit the run that it describes ({reason})"
        ) from error
