"""Algorithm 1 of the WGAN paper, for any loss and any constraint."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wgan_cli.constraints import Constraint
from wgan_cli.losses import Loss, wasserstein_estimate
from wgan_cli.networks.players import Batch, Generator
from wgan_cli.training.ema import update_ema
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Streams


class RealBatches(Protocol):
    """Batches of real samples by position: epoch after epoch, each in a new order."""

    def __getitem__(self, position: int) -> Batch:
        """Return float32 samples on the training device, and their classes if training uses them."""


@dataclass(frozen=True)
class Algorithm:
    """What stays the same during training.

    Attributes:
        loss: What each player minimises.
        constraint: How the critic is kept Lipschitz.
        schedule: How many critic updates precede each generator update.
        rate: Maps a step, counted from 0, to its share of the initial learning rates.
        batches: Real samples for the critic's updates, by critic update.
        generator_batches: The same for the generator's updates, by step. The samples are empty unless the loss needs
            them. The generator gets their classes.
        generator_batch_size: Latents in a generator update.
        streams: All random numbers.
        autocast: Opens a context in which forward passes run in the run's precision.
        ema_decay: Of the generator's moving average, if the state has one.
    """

    loss: Loss
    constraint: Constraint
    schedule: CriticSchedule
    rate: Callable[[int], float]
    batches: RealBatches
    generator_batches: RealBatches
    generator_batch_size: int
    streams: Streams
    autocast: Callable[[], AbstractContextManager[object]]
    ema_decay: float


def train(state: TrainingState, algorithm: Algorithm, after_update: Callable[[TrainingState], bool]) -> None:
    """Train until ``after_update`` returns True.

    The two nested loops of Algorithm 1 are one loop here, so that training can stop and resume between any two updates.

    Args:
        state: Changed in place. Training continues from it as if it had never stopped.
        algorithm: How the state is trained.
        after_update: Called after each update of either player; returns whether to stop. It may look at the state but
            must not change what training does next.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", Algorithm 1. The comments give its line numbers.
    """
    done = False
    while not done:  # line 1
        if algorithm.schedule.generator_is_next(state.position):
            update_generator(state, algorithm)  # lines 9 to 11
        else:
            update_critic(state, algorithm)  # line 2, and lines 3 to 7
        done = after_update(state)


def update_critic(state: TrainingState, algorithm: Algorithm) -> None:
    """Update the critic once, on a new batch of real samples and new latents."""
    position = state.position.critic_updates
    algorithm.streams.seed_global("critic dropout", position)
    real = algorithm.batches[position]  # line 3
    latents = algorithm.streams.at("critic latents", position)
    with algorithm.autocast():
        with torch.no_grad():
            fake = generate(state.generator, len(real.samples), latents, real.classes)  # line 4
        real_scores, fake_scores = score(state.critic, real, fake, separately=state.critic_mixes_samples)
    critic_loss = algorithm.loss.critic(real_scores, fake_scores)  # line 5
    stream = algorithm.streams.at("penalty epsilon", position)
    penalty = algorithm.constraint.penalty(state.critic, real, fake, stream)
    rate = algorithm.rate(state.position.step)
    minimise(critic_loss + penalty, state.critic, state.critic_optimizer, rate, state)  # line 6
    algorithm.constraint.project(state.critic)  # line 7: after the step, so that the generator meets a clipped critic

    state.position = state.position.count_critic_update()
    estimate = wasserstein_estimate(real_scores, fake_scores)
    state.means.add(critic_loss=critic_loss, penalty=penalty, wasserstein_estimate=estimate)


def update_generator(state: TrainingState, algorithm: Algorithm) -> None:
    """Update the generator once, against the current critic."""
    position = state.position.step
    algorithm.streams.seed_global("generator dropout", position)
    real = algorithm.generator_batches[position]
    latents = algorithm.streams.at("generator latents", position)
    with freeze(state.critic):
        with algorithm.autocast():
            fake = generate(state.generator, algorithm.generator_batch_size, latents, real.classes)  # line 9
            real_scores, fake_scores = score(state.critic, real, fake, separately=state.critic_mixes_samples)
        generator_loss = algorithm.loss.generator(real_scores, fake_scores)  # line 10
        rate = algorithm.rate(position)
        minimise(generator_loss, state.generator, state.generator_optimizer, rate, state)  # line 11
    if state.ema is not None:
        update_ema(state.ema, state.generator, position, algorithm.ema_decay)

    state.position = state.position.count_step()
    state.means.add(generator_loss=generator_loss)


def generate(generator: Generator, count: int, stream: torch.Generator, classes: Tensor | None) -> Batch:
    """Generate float32 samples from new latents."""
    latents = torch.randn(count, generator.latent_dim, generator=stream, device=stream.device)
    return Batch(generator(latents, classes).float(), classes)


def score(critic: nn.Module, real: Batch, fake: Batch, *, separately: bool) -> tuple[Tensor, Tensor]:
    """Score real and fake samples of the same classes.

    Both go through the critic in one call, which is faster, unless it mixes the samples of a batch: BatchNorm would
    share its statistics between real and fake samples, which must be free to differ.

    Args:
        critic: Maps samples to scores.
        real: Real samples; may be empty.
        fake: Generated samples.
        separately: Whether to make two calls.

    Returns:
        The scores of the real and of the fake samples, float32, (batch,) each.
    """
    if not len(real.samples):
        return real.samples.new_zeros(0), critic(*fake).float()
    if separately:
        return critic(*real).float(), critic(*fake).float()
    classes = None if real.classes is None else real.classes.repeat(2)
    scores = critic(torch.cat([real.samples, fake.samples]), classes).float()
    return scores[: len(real.samples)], scores[len(real.samples) :]


def minimise(objective: Tensor, network: nn.Module, optimizer: Optimizer, rate: float, state: TrainingState) -> None:
    """Take one optimizer step, unless this or an earlier objective or gradient was not finite.

    Checking on the host would wait for the device at every update. Instead the step is masked on the device, and
    ``state.failed_step`` records the failure.

    Args:
        objective: The scalar to minimise.
        network: Holds the parameters of the optimizer.
        optimizer: Its parameter group knows its ``initial_lr`` and ``max_norm``.
        rate: The share of the initial learning rate to use.
        state: Knows whether an earlier update failed.
    """
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    fails_now = (state.failed_step < 0) & ~torch.isfinite(objective.detach() + norm)
    state.failed_step = torch.where(fails_now, state.position.step + 1, state.failed_step)
    failed = state.failed_step >= 0
    (group,) = optimizer.param_groups
    if group["max_norm"] is not None:
        torch.nn.utils.clip_grads_with_norm_(network.parameters(), group["max_norm"], norm)
    if optimizer.defaults.get("fused"):
        # As torch.amp.GradScaler does. The fused kernel then changes nothing.
        optimizer.found_inf = failed.float()  # type: ignore[attr-defined]
    else:
        for gradient in gradients:
            gradient.masked_fill_(failed, 0.0)  # an optimizer without momentum then stands still
    group["lr"] = rate * group["initial_lr"]
    optimizer.step()


@contextmanager
def freeze(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without computing those of its parameters."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
