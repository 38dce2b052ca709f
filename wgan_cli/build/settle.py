"""Settings that depend on other settings, and checks that need no data."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from wgan_cli.build.players import can_know_classes
from wgan_cli.build.plugins import PARTS, SUPPLIED
from wgan_cli.constraints import CONSTRAINTS, Clip
from wgan_cli.errors import SettingError
from wgan_cli.parameters import bind, check_settings, choose
from wgan_cli.run.cadence import Cadence
from wgan_cli.settings import EPOCHS, DatasetUse, Settings
from wgan_cli.training.schedule import CriticSchedule


def settle(settings: Settings) -> Settings:
    """Return the settings with every null that refers to another setting replaced.

    Raises:
        SettingError: If the constraint cannot be used, or ``clip_value`` does not apply to it.
    """
    part = choose(CONSTRAINTS, settings.constraint, "constraint")
    constraint = dict(settings.constraint)
    if settings.clip_value is not None:
        if not issubclass(part, Clip):
            allowed = f"constraint={constraint['name']} does not clip; use clip_value=null or constraint=clip"
            raise SettingError("clip_value", settings.clip_value, allowed)
        constraint["clip_value"] = settings.clip_value
    clips = bind(part, constraint, "constraint")
    is_limited = any((settings.epochs, settings.max_steps, settings.max_minutes))
    return replace(
        settings,
        epochs=settings.epochs if is_limited else EPOCHS,
        constraint=constraint,
        clip_value=clips.clip_value if isinstance(clips, Clip) else None,
        generator_batch_size=settings.generator_batch_size or settings.batch_size,
    )


def check_parts(settings: Settings) -> None:
    """Check the settings of every part before the data is read, which can take minutes.

    Raises:
        SettingError: If a setting cannot be used.
    """
    own, use = split_dataset_settings(settings.dataset)
    check_settings(choose(PARTS["dataset"], own, "dataset"), own, "dataset")
    for key in ("generator", "critic"):
        network = getattr(settings, key)
        part = choose(PARTS[key], network, key)
        check_settings(part, network, key, SUPPLIED[key])
        if use.conditional and not can_know_classes(part):
            raise SettingError("dataset.conditional", True, f"{key}={network['name']} does not support classes")
    optimizer = choose(PARTS["optimizer"], settings.optimizer, "optimizer")
    check_settings(optimizer, settings.optimizer, "optimizer", SUPPLIED["optimizer"])
    if (warmup := settings.critic_warmup) is not None and not warmup.steps and warmup.every is None:
        raise SettingError("critic_warmup", asdict(warmup), "has no effect without steps or every")


def split_dataset_settings(dataset: Mapping[str, Any]) -> tuple[dict[str, Any], DatasetUse]:
    """Divide a dataset's settings into those of its part and those of every dataset."""
    common = {field.name for field in fields(DatasetUse)}
    own = {key: value for key, value in dataset.items() if key not in common}
    return own, bind(DatasetUse, {key: dataset[key] for key in common & dataset.keys()}, "dataset")


def build_cadence(settings: Settings, sample_count: int) -> Cadence:
    """Build the cadence of a run from settled settings and the number of training samples."""
    schedule = CriticSchedule(settings.n_critic)
    if (warmup := settings.critic_warmup) is not None:
        schedule = CriticSchedule(settings.n_critic, warmup.updates, warmup.steps, warmup.every)
    return Cadence(
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        updates_per_epoch=max(1, sample_count // settings.batch_size),
        schedule=schedule,
        log_every=settings.log.every,
        sample_every=settings.sample.every,
        checkpoint_every=settings.checkpoint.every,
    )
