"""Settings to objects: the one place that knows both."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wgan_cli.constraints import CONSTRAINTS, Clip, Constraint
from wgan_cli.data import DATASETS, Dataset
from wgan_cli.data.batches import Batches
from wgan_cli.data.download import nothing_fetched
from wgan_cli.devices import autocast, fits, resolve_device, resolve_precision, use_deterministic_algorithms
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import SettingError, bind, checked, choose
from wgan_cli.players import Generator
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import Checkpoint, Images, must_fit
from wgan_cli.run.plan import describe_run
from wgan_cli.run.session import Run
from wgan_cli.sampling import GRID_IMAGES
from wgan_cli.settings import OF_THIS_PROCESS, DatasetUse, Settings
from wgan_cli.training.ema import ema_of
from wgan_cli.training.loop import Rules
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState, require_weights
from wgan_cli.training.streams import Purpose, Streams

DOES_NOT_FIT = "has a checkpoint that does not fit the run that it describes"


def build_run(settings: Settings, checkpoint: Checkpoint | None = None) -> Run:
    """Build everything that a run needs, and find every mistake on the way.

    Args:
        settings: All of them; those that are null are settled here.
        checkpoint: Where a run goes on from, or None for a new one.

    Raises:
        SettingError: If a setting cannot be used, alone or beside another, or the images are not those that the
            checkpoint's run was trained on.
    """
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    use_deterministic_algorithms(settings.deterministic)
    settings = settled(settings)
    constraint = bind(choose(CONSTRAINTS, settings.constraint, "constraint"), settings.constraint, "constraint")
    loss = bind(choose(LOSSES, settings.loss, "loss"), settings.loss, "loss")
    _check_parts(settings)
    streams = Streams(settings.seed, device)
    _check_networks(settings, constraint, streams, checkpoint)

    dataset, use, images = _load_images(settings, checkpoint)
    sizes = settings.batch_size, settings.generator_batch_size or settings.batch_size
    batches, generator_batches = _build_batches(dataset, use, sizes, streams)
    cadence = build_cadence(settings, images.count)
    state = _build_state(settings, images, constraint, streams, cadence)
    if checkpoint is not None:
        _restore(state, checkpoint, cadence, settings.resume)
    rules = Rules(
        loss=loss,
        constraint=constraint,
        schedule=cadence.schedule,
        generator_batch_size=sizes[1],
        images=batches,
        generator_images=generator_batches,
        streams=streams,
        autocast=autocast(precision, device),
    )
    return Run(
        config=stored(settings),
        state=state,
        rules=rules,
        cadence=cadence,
        batch_size=settings.batch_size,
        max_minutes=settings.max_minutes,
        save_minutes=settings.checkpoint.every_minutes,
        keep=settings.checkpoint.keep,
        seed=settings.seed,
        images=images,
        real=dataset.train[:GRID_IMAGES].clone(),
        plan=describe_run(asdict(settings), state, cadence, dataset.train, precision),
    )


def settled(settings: Settings) -> Settings:
    """Return the settings that are in force, where null leaves it to another setting.

    Raises:
        SettingError: If the constraint cannot be used, or ``clip_value`` or ``critic_warmup`` beside it.
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
    if (warmup := settings.critic_warmup) is not None and not warmup.steps and warmup.every is None:
        raise SettingError("critic_warmup", asdict(warmup), "would never happen; it needs steps, every or both")
    return replace(
        settings,
        constraint=chosen,
        clip_value=constraint.clip_value if isinstance(constraint, Clip) else None,
        n_critic=settings.n_critic or constraint.usual_n_critic,
        generator_batch_size=settings.generator_batch_size or settings.batch_size,
    )


def stored(settings: Settings) -> dict[str, Any]:
    """Return settings as a checkpoint keeps them, which is without what holds for one process only."""
    return asdict(replace(settings, **OF_THIS_PROCESS))


def build_cadence(settings: Settings, image_count: int) -> Cadence:
    """Say what is due when, from settled settings and the number of training images."""
    schedule = CriticSchedule(settings.n_critic or 1)
    if (warmup := settings.critic_warmup) is not None:
        schedule = CriticSchedule(schedule.n_critic, warmup.updates, warmup.steps, warmup.every)
    return Cadence(
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        updates_per_epoch=max(1, image_count // settings.batch_size),
        schedule=schedule,
        log_every=settings.log.every,
        sample_every=settings.sample.every,
        checkpoint_every=settings.checkpoint.every,
    )


def _load_images(settings: Settings, checkpoint: Checkpoint | None) -> tuple[Dataset, DatasetUse, Images]:
    """Load the dataset and describe it; where a run goes on, it must be what the run was trained on."""
    # A checkpoint may come from anybody, and so may the name of the folder in it: nothing is written there.
    with nothing_fetched() if checkpoint else nullcontext():
        dataset, use = _load_dataset(settings)
    images = Images(
        shape=(dataset.train.shape[1], dataset.train.shape[2], dataset.train.shape[3]),
        num_classes=dataset.num_classes if use.conditional else None,
        count=len(dataset.train),
        digest=dataset.digest(),
    )
    if checkpoint is not None and checkpoint.images != images:
        raise SettingError("resume", settings.resume, _other_images(settings.dataset, checkpoint.images, images))
    return dataset, use, images


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
    settings: Settings, images: Images, constraint: Constraint, streams: Streams, cadence: Cadence
) -> TrainingState:
    """Build the players, each from a random stream of its own, and their optimizers."""
    generator, critic = _build_players(settings, images, constraint, streams)
    for network in (generator, critic):
        network.to(streams.device).to(memory_format=torch.channels_last)
    steps = max(1, cadence.total_steps)

    def progress() -> float:
        return state.step / steps

    part = choose(OPTIMIZERS, settings.optimizer, "optimizer")
    optimizers = bind(part, settings.optimizer, "optimizer", generator=generator, critic=critic, progress=progress)
    state: TrainingState = TrainingState(
        generator, critic, *optimizers, ema=ema_of(generator) if settings.ema else None
    )
    return state


def _build_players(
    settings: Settings, images: Images, constraint: Constraint, streams: Streams
) -> tuple[Generator, nn.Module]:
    """Build the generator and the critic, and see whether batches are large enough for them."""
    streams.seed_global("network weights", 0)
    generator = build_generator(settings.generator, images)
    streams.seed_global("network weights", 1)
    critic = build_critic(settings.critic, images, constraint)
    layers = [*generator.modules(), *critic.modules()]
    if any(isinstance(layer, nn.BatchNorm1d) for layer in layers):
        for key in ("batch_size", "generator_batch_size"):
            if getattr(settings, key) == 1:
                raise SettingError(key, 1, "must be at least 2 where a network has BatchNorm")
    return generator, critic


def build_generator(settings: Mapping[str, Any], images: Images) -> Generator:
    """Build a generator of such images, from the registry alone.

    Args:
        settings: Its name, and its own settings.
        images: Say which shape they have, and how many classes the generator is to know.

    Raises:
        SettingError: If its settings cannot be used.
    """
    part = choose(GENERATORS, settings, "generator")
    generator = bind(part, settings, "generator", **_supplied(part, images))
    generator.num_classes = images.num_classes  # which one of a user's own need not have remembered
    return generator


def build_critic(settings: Mapping[str, Any], images: Images, constraint: Constraint) -> nn.Module:
    """Build a critic of such images under a constraint, from the registry alone.

    Raises:
        SettingError: If its settings cannot be used, or not under this constraint.
    """
    part = choose(CRITICS, settings, "critic")
    critic = bind(part, settings, "critic", **_supplied(part, images))
    if constraint.penalizes_gradients and any(isinstance(module, _BatchNorm) for module in critic.modules()):
        raise SettingError(
            "critic.normalization",
            settings.get("normalization", "batch"),
            "with BatchNorm a score depends on the whole batch, and a gradient penalty is about single images; "
            "use critic.normalization=layer or none",
        )
    return constraint.wrap(critic)


def _supplied(part: Callable[..., object], images: Images) -> dict[str, int | None]:
    """Return what a network gets beside its settings; one that knows nothing of classes is not told of them."""
    supplied: dict[str, int | None] = {"image_size": images.shape[1], "channels": images.shape[0]}
    return supplied | ({"num_classes": images.num_classes} if _knows_classes(part) else {})


def _knows_classes(part: Callable[..., object]) -> bool:
    return "num_classes" in inspect.signature(part).parameters


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


def _check_networks(
    settings: Settings, constraint: Constraint, streams: Streams, checkpoint: Checkpoint | None
) -> None:
    """Build the networks without memory for weights, to find mistakes before the data is read.

    Raises:
        SettingError: If one cannot be built, or a checkpoint has other weights.
    """
    if checkpoint is not None:
        with must_fit("resume", settings.resume, DOES_NOT_FIT), torch.device("meta"):
            generator, critic = _build_players(settings, checkpoint.images, constraint, streams)
            require_weights(generator, checkpoint.state["generator"])
            require_weights(critic, checkpoint.state["critic"])
        return
    size, channels = (settings.dataset.get(key) for key in ("image_size", "channels"))
    if size is not None and channels is not None:  # which a dataset of one's own need not be told
        num_classes = 1 if settings.dataset.get("conditional") else None
        with torch.device("meta"):
            _build_players(settings, Images((channels, size, size), num_classes, 1, ""), constraint, streams)


def _other_images(dataset: Mapping[str, Any], then: Images, now: Images) -> str:
    """Say how the images differ from those that a run began with."""
    where = f" in {dataset['root']}" if "root" in dataset else ""
    if then.count != now.count:
        how = f"there were {then.count:,} to train on, and now there are {now.count:,}"
    elif (then.shape, then.num_classes) != (now.shape, now.num_classes):
        how = f"they were {then.shape} of {then.num_classes} classes, and now {now.shape} of {now.num_classes}"
    else:
        how = f"there are {now.count:,} as before, and not the same ones, or they are decoded to other pixels"
    return f"the images of dataset {dataset['name']}{where} have changed since the checkpoint: {how}"


def _restore(state: TrainingState, checkpoint: Checkpoint, cadence: Cadence, folder: str | None) -> None:
    """Load a checkpoint's state.

    Raises:
        SettingError: If it is that of another run than the checkpoint describes.
    """
    with must_fit("resume", folder, DOES_NOT_FIT):
        state.load_state_dict(checkpoint.state)
        expected = cadence.schedule.updates_until(state.step) + state.critic_updates_in_step
        if state.critic_updates != expected or state.critic_updates_in_step > cadence.schedule.updates_in(state.step):
            raise ValueError(f"{state.critic_updates:,} critic updates do not make {state.step:,} steps")
