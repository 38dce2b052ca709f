"""Algorithm 1 of the WGAN paper, for any loss and any constraint."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from wgan_cli.constraints import Constraint
from wgan_cli.losses import Loss, wasserstein_estimate
from wgan_cli.players import Generator
from wgan_cli.training.ema import update_ema
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Streams


class RealImages(Protocol):
    """Batches of real images by position; epoch after epoch, each in an order of its own."""

    def __getitem__(self, position: int) -> Tensor:
        """Return float32 images in [-1, 1], (batch, channels, height, width), on the training device."""

    def classes(self, position: int) -> Tensor | None:
        """Return the classes of that batch, int64 (batch,), or None where training is to know none."""


@dataclass(frozen=True)
class Rules:
    """What does not change while training.

    Attributes:
        loss: What either player minimises.
        constraint: How the critic is kept Lipschitz.
        schedule: How many critic updates come before each generator update.
        generator_batch_size: Latents in a generator update.
        images: Real images for the critic's updates, by critic update.
        generator_images: Real images for the generator's updates, by step; drawn only if the loss asks for them.
            Their classes are those that the generator is asked for.
        streams: All random numbers.
        autocast: Opens a context in which forward passes run in the run's precision.
    """

    loss: Loss
    constraint: Constraint
    schedule: CriticSchedule
    generator_batch_size: int
    images: RealImages
    generator_images: RealImages
    streams: Streams
    autocast: Callable[[], AbstractContextManager[object]]


def train(state: TrainingState, rules: Rules, after_update: Callable[[TrainingState], bool]) -> None:
    """Train until told to stop.

    Args:
        state: Changed in place. It may come from a checkpoint taken after any update: training goes on from there as
            if it had never stopped.
        rules: What it is trained by.
        after_update: Called after every update of either player; True stops. It may look at the state but not change
            what training does next.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", Algorithm 1; the line numbers are its.
    """
    done = False
    while not done:  # line 1
        if state.critic_updates_in_step < rules.schedule.updates_in(state.step):  # line 2
            update_critic(state, rules)  # lines 3 to 7
        else:
            update_generator(state, rules)  # lines 9 to 11
        done = after_update(state)


def update_critic(state: TrainingState, rules: Rules) -> None:
    """Update the critic once, on a fresh batch of real images and fresh latents."""
    position = state.critic_updates
    rules.streams.seed_global("critic dropout", position)
    real, classes = rules.images[position], rules.images.classes(position)  # line 3
    latents = rules.streams.at("critic latents", position)
    with torch.no_grad():
        fake = generate(state.generator, rules, latents, len(real), classes)  # line 4
    with rules.autocast():
        real_scores, fake_scores = score(state.critic, real, fake, classes)
    critic_loss = rules.loss.critic(real_scores, fake_scores)  # line 5
    epsilon = rules.streams.at("penalty epsilon", position)
    penalty = rules.constraint.penalty(of_classes(state.critic, classes), real, fake, epsilon)
    minimise(critic_loss + penalty, state.critic, state.critic_optimizer, state)  # line 6
    rules.constraint.project(state.critic)  # line 7: after the step, so that the generator meets a clipped critic

    state.critic_updates += 1
    state.critic_updates_in_step += 1
    state.means.add(
        critic_loss=critic_loss,
        penalty=penalty,
        wasserstein_estimate=wasserstein_estimate(real_scores, fake_scores),
    )


def update_generator(state: TrainingState, rules: Rules) -> None:
    """Update the generator once, against the critic as it stands."""
    position = state.step
    rules.streams.seed_global("generator dropout", position)
    with frozen(state.critic):
        latents = rules.streams.at("generator latents", position)
        classes = rules.generator_images.classes(position)
        fake = generate(state.generator, rules, latents, rules.generator_batch_size, classes)  # line 9
        real = rules.generator_images[position] if rules.loss.generator_needs_real else fake[:0]
        with rules.autocast():
            real_scores, fake_scores = score(state.critic, real, fake, classes)
        generator_loss = rules.loss.generator(real_scores, fake_scores)  # line 10
        minimise(generator_loss, state.generator, state.generator_optimizer, state)  # line 11
    if state.ema is not None:
        update_ema(state.ema, state.generator, position)

    state.step += 1
    state.critic_updates_in_step = 0
    state.means.add(generator_loss=generator_loss)


def generate(generator: Generator, rules: Rules, stream: torch.Generator, count: int, classes: Tensor | None) -> Tensor:
    """Generate images from fresh latents: float32, (count, channels, height, width)."""
    latents = torch.randn(count, generator.latent_dim, generator=stream, device=stream.device)
    with rules.autocast():
        images = of_classes(generator, classes)(latents)
    return images.float()


def score(critic: nn.Module, real: Tensor, fake: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Score real and fake images of the same classes, float32, (batch,) each; there may be no real ones.

    They go through the critic in one call, which is faster, unless it has a layer that would mix them: BatchNorm
    takes its statistics over the batch, and those of real and fake images are meant to differ.
    """
    of_these = of_classes(critic, classes)
    if not len(real):
        return real.new_zeros(0), of_these(fake).float()
    if any(isinstance(module, _BatchNorm) for module in critic.modules()):
        return of_these(real).float(), of_these(fake).float()
    of_both = of_classes(critic, None if classes is None else classes.repeat(2))
    scores = of_both(torch.cat([real, fake])).float()
    return scores[: len(real)], scores[len(real) :]


def of_classes(player: nn.Module, classes: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return a player as a function of a batch alone, whose classes are these; None: it knows of none."""
    return player if classes is None else lambda batch: player(batch, classes)


def minimise(objective: Tensor, network: nn.Module, optimizer: Optimizer, state: TrainingState) -> None:
    """Take one optimizer step, or none from the first objective or gradient on that is not finite.

    Whether it is finite is known on the device only, and asking would wait for the device in each update. So the step
    is masked there, and ``state.failed_step`` tells who asks later.
    """
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    total = objective.detach() + torch.nn.utils.get_total_norm(gradients)
    fails_now = (state.failed_step < 0) & ~torch.isfinite(total)
    state.failed_step = torch.where(fails_now, state.step + 1, state.failed_step)
    failed = state.failed_step >= 0
    if optimizer.defaults.get("fused"):
        # As torch.amp.GradScaler does: the fused kernel then leaves everything as it is.
        optimizer.found_inf = failed.float()  # type: ignore[attr-defined]
    else:
        for gradient in gradients:
            gradient.masked_fill_(failed, 0.0)  # an optimizer without momentum stands still
    optimizer.step()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without computing those of its parameters."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
