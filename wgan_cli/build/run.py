"""Builds a run from its settings and, to resume it, from its checkpoint."""

import torch

from wgan_cli.build.data import build_batches, load_dataset, require_same_data
from wgan_cli.build.players import DOES_NOT_FIT, build_players, check_players, require_shapes
from wgan_cli.build.settle import build_cadence, check_parts, settle
from wgan_cli.constraints import CONSTRAINTS, Constraint
from wgan_cli.data.dataset import DataSpec
from wgan_cli.devices import autocast, resolve_device, resolve_precision, use_deterministic_algorithms
from wgan_cli.errors import SettingError
from wgan_cli.losses import LOSSES
from wgan_cli.optimizers import OPTIMIZERS, Schedule
from wgan_cli.parameters import bind, choose
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import Checkpoint, refuse_misfits
from wgan_cli.run.plan import describe_run
from wgan_cli.run.session import Run
from wgan_cli.sampling.draw import arrange_real
from wgan_cli.settings import Settings
from wgan_cli.training.ema import copy_for_average
from wgan_cli.training.loop import Algorithm
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Streams


def build_run(settings: Settings, checkpoint: Checkpoint | None = None) -> Run:
    """Build everything that a run needs, and check all settings.

    Args:
        settings: As the user gave them.
        checkpoint: Where a resumed run continues; None for a new run.

    Raises:
        InputError: If a setting cannot be used, alone or with another, or the checkpoint does not fit.
    """
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    use_deterministic_algorithms(settings.deterministic)
    settings = settle(settings)
    constraint = bind(choose(CONSTRAINTS, settings.constraint, "constraint"), settings.constraint, "constraint")
    loss = bind(choose(LOSSES, settings.loss, "loss"), settings.loss, "loss")
    check_parts(settings)
    streams = Streams(settings.seed, device)
    check_players(settings, constraint, streams, checkpoint)

    dataset, use = load_dataset(settings)
    data = dataset.describe(use.conditional)
    if checkpoint is not None:
        require_same_data(settings.dataset, checkpoint.data, data)
    batches, generator_batches = build_batches(
        dataset, use, settings, streams, generator_needs_real=loss.generator_needs_real
    )
    cadence = build_cadence(settings, data.count)
    state, rates = _build_state(settings, data, constraint, streams)
    if checkpoint is not None:
        _restore(state, checkpoint, cadence)
    total_steps = cadence.total_steps
    if total_steps is None and rates.shape != "constant":
        raise SettingError("optimizer.schedule", rates.shape, "needs a known length; set epochs or max_steps")
    algorithm = Algorithm(
        loss=loss,
        constraint=constraint,
        schedule=cadence.schedule,
        rate=lambda step: rates.scale(step, total_steps),
        batches=batches,
        generator_batches=generator_batches,
        generator_batch_size=settings.generator_batch_size or settings.batch_size,
        streams=streams,
        autocast=autocast(precision, device),
        ema_decay=settings.ema.decay if settings.ema is not None else 0.0,
    )
    plan = describe_run(settings, state, cadence, data, precision)
    real = arrange_real(dataset.train, dataset.train_labels, data.class_names)
    return Run(settings, state, algorithm, cadence, data, real, plan)


def _build_state(
    settings: Settings, data: DataSpec, constraint: Constraint, streams: Streams
) -> tuple[TrainingState, Schedule]:
    """Build the training state, and return it with the schedule of the learning rates."""
    generator, critic = build_players(settings, data, constraint, streams)
    for network in (generator, critic):
        network.to(streams.device).to(memory_format=torch.channels_last)
    require_shapes(generator, critic, data, streams.device)
    part = choose(OPTIMIZERS, settings.optimizer, "optimizer")
    optimizers = bind(part, settings.optimizer, "optimizer", generator=generator, critic=critic)
    ema = copy_for_average(generator) if settings.ema is not None else None
    return TrainingState(generator, critic, optimizers.generator, optimizers.critic, ema), optimizers.schedule


def _restore(state: TrainingState, checkpoint: Checkpoint, cadence: Cadence) -> None:
    """Load the state of a checkpoint.

    Raises:
        InputError: If it is the state of another run.
    """
    with refuse_misfits(DOES_NOT_FIT):
        state.load(checkpoint.tensors, checkpoint.counts)
        if not cadence.schedule.can_reach(state.position):
            raise ValueError(f"the run never reaches {state.position}")
