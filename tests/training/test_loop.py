import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from tests import references
from tests.builders import (
    CPU,
    LATENT_DIM,
    SIZE,
    batches,
    bits,
    make_rules,
    make_state,
    through_a_file,
    train_for,
    updates,
    weights,
)
from wgan_cli.constraints import CONSTRAINTS, Clip, Constraint, GradientPenalty, Scorer
from wgan_cli.losses import LOSSES, Wasserstein
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.training.loop import Rules, frozen, generate, score, train, update_critic, update_generator
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Streams

BOTH_OPTIMIZERS = pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])


# Fakes that write down what happens to them.


class RecordedSGD(SGD):
    """Gradient descent that says when it steps."""

    def __init__(self, network: nn.Module, name: str, events: list[str]) -> None:
        super().__init__(network.parameters(), lr=0.5)
        self.name, self.events = name, events

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        super().step(closure)
        self.events.append(f"{self.name} step")


@dataclass(frozen=True)
class RecordedClip(Clip):
    """Clips, and says so."""

    events: list[str] = field(default_factory=list)

    def penalty(self, critic: Scorer, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        self.events.append("penalty")
        return super().penalty(critic, real, fake, epsilon)

    def project(self, critic: nn.Module) -> None:
        self.events.append("project")
        super().project(critic)


class RecordedLoss(Wasserstein):
    """Says which of its methods is asked."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        self.events.append("critic loss")
        return super().critic(real_scores, fake_scores)

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        self.events.append("generator loss")
        assert real_scores.shape == (0,)
        return super().generator(real_scores, fake_scores)


class RecordedImages:
    """Passes on another source's batches and keeps their positions."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.positions: list[int] = []
        self.batches: list[Tensor] = []

    def __getitem__(self, position: int) -> Tensor:
        self.positions.append(position)
        batch: Tensor = self.source[position]
        self.batches.append(batch.clone())
        return batch

    def classes(self, position: int) -> Tensor | None:
        found: Tensor | None = self.source.classes(position)
        return found


class NoImages:
    """Must not be asked."""

    def __getitem__(self, position: int) -> Tensor:
        raise AssertionError(f"batch {position} of the generator's real images was drawn for nothing")

    def classes(self, _position: int) -> None:
        return None


def inputs_of(network: nn.Module) -> list[Tensor]:
    """Return a list that fills with what goes into a network."""
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    return seen


def give_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in network.parameters()]


def all_sevens(network: nn.Module) -> bool:
    return all(gradient is not None and bool((gradient == 7).all()) for gradient in gradients(network))


CRITIC_UPDATE = ["critic loss", "penalty", "critic step", "project"]
GENERATOR_UPDATE = ["generator loss", "generator step"]


@pytest.mark.parametrize("n_critic", [1, 2, 5])
def test_order_of_updates(n_critic: int) -> None:
    """Algorithm 1: n_critic times (loss, step, then clip), and one generator update; never a generator update first."""
    events: list[str] = []
    state = make_state()
    state.critic_optimizer = RecordedSGD(state.critic, "critic", events)
    state.generator_optimizer = RecordedSGD(state.generator, "generator", events)
    rules = make_rules(n_critic=n_critic, generator_images=NoImages())
    rules = replace(rules, loss=RecordedLoss(events), constraint=RecordedClip(0.1, events))
    train_for(state, rules, 2 * (n_critic + 1) + 1)
    step = CRITIC_UPDATE * n_critic + GENERATOR_UPDATE
    assert events == step * 2 + CRITIC_UPDATE
    assert (state.step, state.critic_updates, state.critic_updates_in_step) == (2, 2 * n_critic + 1, 1)


@pytest.mark.parametrize(
    ("n_critic", "steps_at_epochs_end"), [(1, [2, 5, 8]), (2, [1, 2, 4]), (3, [0, 1, 2]), (7, [0, 0, 1])]
)
def test_the_count_of_critic_updates_carries_over_epochs(n_critic: int, steps_at_epochs_end: list[int]) -> None:
    """Three batches an epoch, n_critic critic updates a step: PyTorch-GAN begins to count anew in each epoch."""
    kinds: list[str] = []
    found: list[int] = []

    def look(state: TrainingState) -> None:
        kinds.append("critic" if state.critic_updates_in_step else "generator")
        if kinds[-1] == "critic" and state.critic_updates % 3 == 0:
            found.append(state.step)  # right after an epoch's last critic update

    rules = make_rules(n_critic=n_critic)
    images = RecordedImages(rules.images)
    state = make_state()
    train(state, replace(rules, images=images), updates(9 + steps_at_epochs_end[-1], look))
    cycle = ["critic"] * n_critic + ["generator"]
    assert kinds == [cycle[index % len(cycle)] for index in range(len(kinds))]
    assert images.positions == list(range(9))  # each batch once, across the epochs' ends
    assert found == steps_at_epochs_end


def test_one_epoch_is_every_image_once() -> None:
    numbered = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(12, 1, SIZE, SIZE).contiguous()
    images = RecordedImages(batches(numbered, 4, Streams(0, CPU)))
    train_for(make_state(), replace(make_rules(n_critic=2), images=images), 9)  # six critic updates and three others
    numbers = [int(((image.mean() + 1) * 127.5).round()) for batch in images.batches for image in batch]
    assert sorted(numbers[:12]) == sorted(numbers[12:]) == list(range(12))
    assert numbers[:12] != numbers[12:]


def test_the_generator_meets_a_clipped_critic() -> None:
    """Four of the peers clip before the step, so that their generators meet a critic that is not clipped."""
    state, rules = make_state(learning_rate=0.5), make_rules(n_critic=2)
    sizes: list[float] = []
    state.critic.register_forward_pre_hook(
        lambda module, _args: sizes.append(max(float(p.detach().abs().max()) for p in module.parameters()))
    )
    bound = Clip().clip_value
    train_for(state, rules, 3)
    assert sizes[0] > bound  # as it was initialised
    assert sizes[1] == sizes[2] == pytest.approx(bound)  # steps of 0.5 lead out of ±0.03, and the clip back
    assert all((parameter.abs() <= torch.tensor(bound)).all() for parameter in state.critic.parameters())


def test_each_critic_update_has_fresh_images_and_latents() -> None:
    """torch-fidelity's example uses one batch for all critic updates of a step."""
    state = make_state()
    images = RecordedImages(make_rules().images)
    latents = inputs_of(state.generator)
    train_for(state, replace(make_rules(n_critic=5), images=images), 6)
    assert images.positions == [0, 1, 2, 3, 4]
    assert len({tuple(batch.flatten().tolist()) for batch in images.batches}) == 5
    assert len(latents) == 6
    rows = {tuple(row.tolist()) for batch in latents for row in batch}
    assert len(rows) == 6 * 4  # no latent comes twice, the generator's own update included
    assert all(batch.shape == (4, LATENT_DIM) for batch in latents)


def test_latents_come_from_their_streams() -> None:
    state, rules = make_state(), make_rules(n_critic=2)
    latents = inputs_of(state.generator)
    train_for(state, rules, 6)
    sources = [("critic latents", 0), ("critic latents", 1), ("generator latents", 0)]
    sources += [("critic latents", 2), ("critic latents", 3), ("generator latents", 1)]
    for batch, (purpose, position) in zip(latents, sources, strict=True):
        expected = torch.randn(4, LATENT_DIM, generator=rules.streams.at(purpose, position))  # type: ignore[arg-type]
        assert torch.equal(batch, expected)


def test_the_generator_takes_a_full_batch_whatever_the_critics_images() -> None:
    state = make_state()
    latents = inputs_of(state.generator)
    rules = replace(make_rules(n_critic=1, batch_size=7), images=make_rules(batch_size=4).images)
    train_for(state, rules, 2)
    assert [len(batch) for batch in latents] == [4, 7]


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
def test_a_critic_update_leaves_the_generator_alone(constraint: str, optimizer: str) -> None:
    """Fakes are detached: neither weights nor gradients of the generator move, and no graph of it is built."""
    state = make_state(optimizer=optimizer, constraint=constraint)
    rules = make_rules(constraint=constraint)
    give_gradients(state.generator)
    seen = inputs_of(state.critic)
    before = weights(state.generator), weights(state.critic), bits(state.generator_optimizer.state_dict())
    update_critic(state, rules)
    assert weights(state.generator) == before[0]
    assert weights(state.critic) != before[1]
    assert bits(state.generator_optimizer.state_dict()) == before[2]
    assert all_sevens(state.generator)
    assert all(images.grad_fn is None for images in seen)
    assert (state.step, state.critic_updates, state.critic_updates_in_step) == (0, 1, 1)


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_generator_update_leaves_the_critic_alone(loss: str, optimizer: str) -> None:
    state = make_state(optimizer=optimizer)
    rules = make_rules(loss=loss)
    before = weights(state.generator), weights(state.critic), bits(state.critic_optimizer.state_dict())
    update_generator(state, rules)
    assert gradients(state.critic) == [None] * len(gradients(state.critic))  # not even computed
    assert weights(state.critic) == before[1]
    assert weights(state.generator) != before[0]
    assert bits(state.critic_optimizer.state_dict()) == before[2]
    assert all(parameter.requires_grad for parameter in state.critic.parameters())
    give_gradients(state.critic)
    update_generator(state, rules)
    assert all_sevens(state.critic)
    assert (state.step, state.critic_updates, state.critic_updates_in_step) == (2, 0, 0)


def test_frozen_gives_the_gradients_back_after_an_exception() -> None:
    network = nn.Linear(2, 1)
    with frozen(network):
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(RuntimeError, match="shapes"), frozen(network):
        network(torch.ones(1, 3))
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_only_relativistic_generators_draw_real_images_and_from_the_second_stream(loss: str) -> None:
    relativistic = loss.startswith("relativistic")
    rules = make_rules(loss=loss, n_critic=2)
    critics = RecordedImages(rules.images)
    generators = RecordedImages(rules.generator_images if relativistic else NoImages())
    train_for(make_state(), replace(rules, images=critics, generator_images=generators), 6)
    assert critics.positions == [0, 1, 2, 3]  # epochs count critic batches only
    assert generators.positions == ([0, 1] if relativistic else [])
    for batch in generators.batches:
        assert not any(torch.equal(batch, other) for other in critics.batches)


# Scoring.


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a part of the largest score: first scores are as small as 1e-6."""
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


@pytest.mark.parametrize(("normalization", "calls"), [("none", 1), ("layer", 1), ("batch", 2)])
@pytest.mark.parametrize("networks", ["mlp", "dcgan"])
def test_one_call_or_two(networks: str, normalization: str, calls: int) -> None:
    state = make_state(networks, critic_normalization=normalization)
    real, fake = torch.randn(4, 1, SIZE, SIZE), torch.randn(4, 1, SIZE, SIZE) * 0.2 + 3
    expected = state.critic(real), state.critic(fake)
    joined = state.critic(torch.cat([real, fake])).split(4)
    seen = inputs_of(state.critic)
    scores = score(state.critic, real, fake)
    assert len(seen) == calls
    for ours, separate, together in zip(scores, expected, joined, strict=True):
        assert ours.shape == (4,)
        assert difference(ours, separate) < 1e-4  # float32: another batch size sums in another order
        if normalization == "batch":
            assert difference(separate, together) > 0.01  # else there would be no reason for two calls


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_no_call_for_an_empty_side(normalization: str) -> None:
    state = make_state("dcgan", critic_normalization=normalization)
    fake = torch.randn(4, 1, SIZE, SIZE)
    expected = state.critic(fake)
    seen = inputs_of(state.critic)
    real_scores, fake_scores = score(state.critic, fake[:0], fake)
    assert real_scores.shape == (0,)
    assert [images.shape for images in seen] == [fake.shape]
    assert difference(fake_scores, expected) < 1e-4


def test_forward_passes_run_in_the_runs_precision_and_all_else_in_float32() -> None:
    dtypes: list[tuple[str, torch.dtype]] = []

    class Loss(Wasserstein):
        def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
            dtypes.append(("scores", real_scores.dtype))
            return super().critic(real_scores, fake_scores)

    def record(name: str) -> Callable[..., None]:
        return lambda _module, _args, output: dtypes.append((name, output.dtype))

    state = make_state(constraint="gradient_penalty")
    references.layers(state.generator)[0].register_forward_hook(record("generator"))
    references.layers(state.critic)[0].register_forward_hook(record("critic"))
    fakes = inputs_of(state.critic)
    rules = make_rules(
        constraint="gradient_penalty", autocast=lambda: torch.autocast("cpu", torch.bfloat16), n_critic=1
    )
    train_for(state, replace(rules, loss=Loss()), 2)
    low, full = torch.bfloat16, torch.float32
    critic_update = [("generator", low), ("critic", low), ("scores", full), ("critic", full)]  # the last: the penalty
    assert dtypes == [*critic_update, ("generator", low), ("critic", low)]
    assert all(images.dtype == full for images in fakes)
    assert not torch.is_autocast_enabled("cpu")
    assert all(parameter.dtype == full for parameter in [*state.critic.parameters(), *state.generator.parameters()])


# One step by hand, in plain torch and the references' formulas.


def reference_norms(critic: nn.Module, points: Tensor) -> Tensor:
    rows = [torch.autograd.grad(critic(point[None]).sum(), point, create_graph=True)[0] for point in points]
    return torch.stack([(row**2).sum() ** 0.5 for row in rows])


EPS = 1e-3  # so large that the rounding of a small gradient is not enlarged to the size of a step


class ByHand:
    """Training restated: each image scored alone, losses and optimizers from the references, no clever order."""

    def __init__(self, state: TrainingState, rules: Rules, loss: str, constraint: str, optimizer: str) -> None:
        self.generator, self.critic = copy.deepcopy(state.generator), copy.deepcopy(state.critic)
        self.rules, self.loss, self.constraint = rules, loss, constraint
        make = {"adam": references.Adam, "rmsprop": references.RMSprop}[optimizer]
        self.optimizers = {
            network: [make(0.01, eps=EPS) for _ in network.parameters()] for network in (self.generator, self.critic)
        }

    def latents(self, purpose: Any, position: int) -> Tensor:
        return torch.randn(4, LATENT_DIM, generator=self.rules.streams.at(purpose, position))

    def scores(self, images: Tensor) -> Tensor:
        return torch.cat([self.critic(image[None]) for image in images]).double()

    def descend(self, network: nn.Module, objective: Tensor) -> None:
        parameters = list(network.parameters())
        found = torch.autograd.grad(objective, parameters)
        for parameter, gradient, optimizer in zip(parameters, found, self.optimizers[network], strict=True):
            moved = optimizer.step(parameter.detach().double().numpy(), gradient.double().numpy())
            parameter.data.copy_(torch.from_numpy(np.asarray(moved)))

    def update_critic(self, position: int) -> tuple[float, float, float]:
        real = self.rules.images[position]
        fake = self.generator(self.latents("critic latents", position)).detach()
        real_scores, fake_scores = self.scores(real), self.scores(fake)
        loss = references.CRITIC_LOSSES[self.loss](real_scores, fake_scores)
        penalty = torch.zeros(())
        if self.constraint == "gradient_penalty":
            epsilon = torch.rand(4, 1, 1, 1, generator=self.rules.streams.at("penalty epsilon", position))
            points = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            penalty = 10 * ((reference_norms(self.critic, points) - 1) ** 2).mean()
        self.descend(self.critic, loss + penalty)
        if self.constraint == "clip":
            for parameter in self.critic.parameters():
                parameter.data.copy_(parameter.detach().clamp(-0.03, 0.03))
        gap = real_scores.mean() - fake_scores.mean()
        return loss.item(), penalty.item(), gap.item()

    def update_generator(self, position: int) -> float:
        fake_scores = self.scores(self.generator(self.latents("generator latents", position)))
        real_scores = self.scores(self.rules.generator_images[position])
        loss = references.GENERATOR_LOSSES[self.loss](real_scores, fake_scores)
        self.descend(self.generator, loss)
        return loss.item()


@BOTH_OPTIMIZERS
@pytest.mark.parametrize(
    ("loss", "constraint"),
    [
        ("wasserstein", "clip"),
        ("wasserstein", "gradient_penalty"),
        ("hinge", "none"),
        ("nonsaturating", "none"),
        ("relativistic_average", "gradient_penalty"),
    ],
)
def test_two_steps_are_those_computed_by_hand(loss: str, constraint: str, optimizer: str) -> None:
    state = make_state(optimizer=optimizer, constraint=constraint, eps=EPS)
    rules = make_rules(loss, constraint, n_critic=2)
    hand = ByHand(state, rules, loss, constraint, optimizer)
    begun = [parameter.detach().clone() for parameter in state.critic.parameters()]
    train_for(state, rules, 6)
    rows: list[tuple[float, float, float]] = []
    generator_losses: list[float] = []
    for step in range(2):
        rows += [hand.update_critic(2 * step), hand.update_critic(2 * step + 1)]
        generator_losses.append(hand.update_generator(step))
    for network, expected in ((state.critic, hand.critic), (state.generator, hand.generator)):
        for parameter, other in zip(network.parameters(), expected.parameters(), strict=True):
            # float32 sums in another order change a gradient by some 1e-7, and 0.01 · 1e-7 / EPS is 1e-6 an update;
            # an update itself moves a weight by up to 0.01.
            torch.testing.assert_close(parameter, other, rtol=0, atol=2e-5)
    assert max((a - b).abs().max().item() for a, b in zip(begun, state.critic.parameters(), strict=True)) > 0.01
    means = state.means.read()
    names = ("critic_loss", "penalty", "wasserstein_estimate")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        assert means[name] == pytest.approx(float(np.mean(values)), rel=1e-4, abs=1e-5)
    assert means["generator_loss"] == pytest.approx(float(np.mean(generator_losses)), rel=1e-4, abs=1e-5)
    assert set(means) == {*names, "generator_loss"}


def test_the_critic_learns_the_distance_and_the_generator_closes_it() -> None:
    """Signs, from end to end: against a fixed generator the estimate rises above 0, then the generator lowers it."""
    grey = torch.full((16, 1, SIZE, SIZE), 255, dtype=torch.uint8)
    state, rules = make_state(learning_rate=0.002), make_rules(n_critic=40, images=grey)
    train_for(state, rules, 40)
    state.means.reset()
    update_critic(state, rules)
    learnt = state.means.read()["wasserstein_estimate"]
    assert learnt > 1e-4
    assert state.means.read()["critic_loss"] == pytest.approx(-learnt)
    latents = torch.randn(64, LATENT_DIM)
    before = state.critic(state.generator(latents)).mean()
    for _ in range(20):
        update_generator(state, rules)
    assert state.critic(state.generator(latents)).mean() > before


def test_penalty_is_kept_apart_from_the_critic_loss() -> None:
    plain, penalised = make_state(constraint="none"), make_state(constraint="gradient_penalty")
    update_critic(plain, make_rules(constraint="none"))
    update_critic(penalised, make_rules(constraint="gradient_penalty"))
    for name in ("critic_loss", "wasserstein_estimate"):
        assert plain.means.read()[name] == penalised.means.read()[name]
    assert plain.means.read()["penalty"] == 0
    assert penalised.means.read()["penalty"] > 0.1


def test_every_constraint_is_called() -> None:
    """A gradient penalty that is defined and never called is another's bug."""
    calls: list[tuple[int, int]] = []

    class Counted(GradientPenalty):
        def penalty(self, critic: Scorer, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
            calls.append((len(real), len(fake)))
            assert not fake.requires_grad
            return super().penalty(critic, real, fake, epsilon)

    train_for(make_state(), replace(make_rules(n_critic=2), constraint=Counted()), 4)
    assert calls == [(4, 4)] * 3


def test_the_average_moves_with_each_step_and_only_then() -> None:
    state, rules = make_state(ema=True, networks="dcgan", generator_normalization="batch"), make_rules(n_critic=2)
    assert state.ema is not None
    history = [_flat(state.generator)]
    for update in range(9):
        before = bits(state.ema)
        train_for(state, rules, 1)
        assert (bits(state.ema) != before) == (update % 3 == 2)
        if update % 3 == 2:
            history.append(_flat(state.generator))
    np.testing.assert_allclose(_flat(state.ema), references.moving_average(history), rtol=1e-5, atol=1e-6)
    assert not state.ema.training
    assert all(parameter.grad is None for parameter in state.ema.parameters())


def _flat(network: nn.Module) -> references.Array:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).double().numpy()


# A loss that is not finite.


class PoisonedImages:
    """Real images, one batch of which is not finite."""

    def __init__(self, source: Any, position: int, value: float) -> None:
        self.source, self.position, self.value = source, position, value

    def __getitem__(self, position: int) -> Tensor:
        batch: Tensor = self.source[position].clone()
        if position == self.position:
            batch[0, 0, 0, 0] = self.value
        return batch

    def classes(self, position: int) -> Tensor | None:
        found: Tensor | None = self.source.classes(position)
        return found


class PoisonedLoss(Wasserstein):
    """The generator's loss has, in its n-th update, a bad value, or a good one whose gradient is bad."""

    def __init__(self, update: int, poison: str) -> None:
        self.left, self.poison = update, poison

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        self.left -= 1
        loss = super().generator(real_scores, fake_scores)
        if self.left != 0:
            return loss
        if self.poison == "gradient":
            return loss + (fake_scores * 0).square().sum().sqrt()  # 0, with 0 · ∞ as its gradient
        return loss * float(self.poison)


def assert_stands_still(state: TrainingState, rules: Rules, bad_update: int, failed_step: int) -> None:
    """Train up to the bad update, over it and on: weights change before, and from it on not by a bit."""
    clean = train_for(
        copy.deepcopy(state), replace(make_rules(n_critic=2), constraint=rules.constraint), bad_update - 1
    )
    train_for(state, rules, bad_update - 1)
    assert int(state.failed_step) == -1
    assert bits(state) == bits(clean)
    before = weights(state.generator), weights(state.critic)
    for _ in range(7):
        train_for(state, rules, 1)
        assert (weights(state.generator), weights(state.critic)) == before
        assert int(state.failed_step) == failed_step
    for network in (state.generator, state.critic):
        assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("constraint", ["none", "clip", "gradient_penalty", "spectral_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("position", [0, 3, 4])
def test_a_bad_critic_loss_never_reaches_the_weights(
    position: int, value: float, constraint: str, optimizer: str
) -> None:
    state, rules = make_state(optimizer=optimizer, constraint=constraint), make_rules(constraint=constraint)
    if constraint == "clip":
        rules.constraint.project(state.critic)  # else the failing update's projection is the first
    rules = replace(rules, images=PoisonedImages(rules.images, position, value))
    assert_stands_still(state, rules, bad_update=position + position // 2 + 1, failed_step=position // 2 + 1)


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("poison", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("step", [1, 3])
def test_a_bad_generator_loss_or_gradient_never_reaches_the_weights(step: int, poison: str, optimizer: str) -> None:
    state = make_state(optimizer=optimizer, constraint="none")
    rules = replace(make_rules(constraint="none"), loss=PoisonedLoss(step, poison))
    assert_stands_still(state, rules, bad_update=3 * step, failed_step=step)


@BOTH_OPTIMIZERS
def test_masking_does_not_disturb_good_updates(optimizer: str) -> None:
    """The same update as torch's own optimizer takes without a mask."""
    state = make_state(optimizer=optimizer, constraint="none")
    rules = make_rules(constraint="none")
    other = copy.deepcopy(state)
    update_critic(state, rules)
    with torch.no_grad():
        fake = generate(other.generator, rules, rules.streams.at("critic latents", 0), 4, None)
    other.critic_optimizer.zero_grad()
    torch.autograd.backward(rules.loss.critic(*score(other.critic, rules.images[0], fake)))
    other.critic_optimizer.step()
    assert weights(state.critic) == weights(other.critic)
    assert bits(state.critic_optimizer.state_dict()) == bits(other.critic_optimizer.state_dict())


# Looking and stopping.


def look_hard(state: TrainingState) -> None:
    """All that grids, metrics and gauges might do, and rudely."""
    torch.randn(3)
    torch.manual_seed(12345)
    torch.randperm(5)
    for network in (state.sampler, state.critic):
        was_training = network.training
        network.eval()
        with torch.no_grad():
            if network is state.critic:
                network(torch.randn(2, 1, SIZE, SIZE))
            else:
                network(torch.randn(2, LATENT_DIM))
        network.train(was_training)
    state.means.read()
    state.state_dict()


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize(
    ("loss", "constraint", "critic"),
    [("hinge", "spectral_norm", None), ("relativistic", "none", None), ("wasserstein", "clip", "dropout")],
)
def test_looking_changes_nothing(loss: str, constraint: str, critic: str | None, ema: bool) -> None:
    def trained(look: Callable[[TrainingState], None] | None) -> dict[str, Any]:
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(SIZE * SIZE, 6), nn.Dropout(0.5), nn.Linear(6, 1), nn.Flatten(0)]
        own = nn.Sequential(*layers) if critic == "dropout" else None
        state = make_state("dcgan", "adam", constraint, ema=ema, critic=own)
        train(state, make_rules(loss, constraint), updates(8, look))
        return bits(state)

    assert trained(look_hard) == trained(None)


@pytest.mark.parametrize("count", range(1, 8))
def test_stopping_after_any_update(count: int) -> None:
    calls: list[tuple[int, int, int]] = []
    state = make_state()
    train(
        state,
        make_rules(n_critic=2),
        updates(count, lambda now: calls.append((now.step, now.critic_updates, now.critic_updates_in_step))),
    )
    expected = [(0, 1, 1), (0, 2, 2), (1, 2, 0), (1, 3, 1), (1, 4, 2), (2, 4, 0), (2, 5, 1)]
    assert calls == expected[:count]  # called after each update, and none follows the one that said stop


def test_autocast_is_entered_for_forward_passes_only() -> None:
    depth: list[str] = []

    @contextmanager
    def autocast() -> Iterator[None]:
        depth.append("in")
        yield
        depth.append("out")

    train_for(make_state(), make_rules(n_critic=1, autocast=autocast), 2)
    assert depth == ["in", "out"] * 4  # each player's update: generate, score
    train_for(make_state(), make_rules(autocast=nullcontext), 1)


def test_generate_is_float32_images_from_the_stream() -> None:
    state, rules = make_state(), make_rules()
    images = generate(state.generator, rules, rules.streams.at("critic latents", 5), 3, None)
    assert images.shape == (3, 1, SIZE, SIZE)
    assert images.dtype == torch.float32
    assert torch.equal(images, generate(state.generator, rules, rules.streams.at("critic latents", 5), 3, None))
    assert images.requires_grad  # whoever wants it without a graph says so


@BOTH_OPTIMIZERS
def test_the_critic_may_have_a_learning_rate_of_its_own(optimizer: str) -> None:
    generator, critic = nn.Linear(1, 1), nn.Linear(1, 1)

    def rates(**settings: float | None) -> list[float]:
        return [made.param_groups[0]["lr"] for made in OPTIMIZERS[optimizer](generator, critic, float, **settings)]

    assert rates(learning_rate=0.1, critic_learning_rate=None) == [0.1, 0.1]
    assert rates(learning_rate=0.1, critic_learning_rate=0.2) == [0.1, 0.2]
    ours = OPTIMIZERS[optimizer](generator, critic, float)
    held = [[id(parameter) for parameter in made.param_groups[0]["params"]] for made in ours]
    assert held == [[id(parameter) for parameter in network.parameters()] for network in (generator, critic)]


def test_no_constraint_is_the_default_hooks() -> None:
    critic = nn.Linear(2, 1)
    assert Constraint().wrap(critic) is critic


def test_warm_up_asks_for_more_critic_updates() -> None:
    """WassersteinGAN/main.py, on a small scale: 4 updates in the first two steps and in every third, else 2."""
    kinds: list[str] = []
    rules = replace(make_rules(), schedule=CriticSchedule(2, warmup_updates=4, warmup_steps=2, warmup_every=3))
    train(
        make_state(),
        rules,
        updates(27, lambda state: kinds.append("c" if state.critic_updates_in_step else "g")),
    )
    assert "".join(kinds) == "ccccgccccgccgccccgccgccgccc"


LABELS = torch.arange(14) % 3


def test_the_critic_meets_fakes_of_the_real_images_classes() -> None:
    """Both halves of a pair have one class, so that the points between them (the penalty's) have it, too."""
    state = make_state(num_classes=3)
    rules = make_rules(labels=LABELS, constraint="gradient_penalty", n_critic=1)
    seen: dict[str, list[Tensor]] = {"generator": [], "critic": []}
    for name, player in (("generator", state.generator), ("critic", state.critic)):
        player.register_forward_pre_hook(lambda _module, inputs, name=name: seen[name].append(inputs[1].clone()))
    train_for(state, rules, 2)
    of_critic, of_generator = rules.images.classes(0), rules.generator_images.classes(0)
    assert of_critic is not None
    assert of_generator is not None
    assert not torch.equal(of_critic, of_generator)
    assert [classes.tolist() for classes in seen["generator"]] == [of_critic.tolist(), of_generator.tolist()]
    both, penalty, fake = seen["critic"]
    assert both.tolist() == of_critic.tolist() * 2
    assert penalty.tolist() == of_critic.tolist()
    assert fake.tolist() == of_generator.tolist()


def test_a_class_of_its_own_reaches_each_score() -> None:
    """In one call or in two, as BatchNorm wants it."""
    for normalization in ("none", "batch"):
        state = make_state(num_classes=3, critic_normalization=normalization)
        real, fake = torch.randn(4, 1, SIZE, SIZE), torch.randn(4, 1, SIZE, SIZE)
        classes = torch.tensor([0, 1, 2, 1])
        scores = score(state.critic, real, fake, classes)
        for images, found in zip((real, fake), scores, strict=True):
            # One call on eight images rounds otherwise than two on four.
            torch.testing.assert_close(found, state.critic(images, classes), rtol=1e-5, atol=1e-6)
            assert not torch.allclose(found, state.critic(images, classes.flip(0)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("loss", ["wasserstein", "relativistic"])
def test_training_with_classes_goes_on_as_if_it_had_never_stopped(loss: str) -> None:
    rules = make_rules(loss, labels=LABELS)
    whole = train_for(make_state(num_classes=3, ema=True), rules, 11)
    for stop in (4, 5):
        first = train_for(make_state(num_classes=3, ema=True), rules, stop)
        second = make_state(num_classes=3, ema=True, seed=9)
        second.load_state_dict(through_a_file(first.state_dict()))
        assert bits(train_for(second, make_rules(loss, labels=LABELS), 11 - stop)) == bits(whole)


def test_a_generator_learns_its_classes() -> None:
    """Images of class c are grey of one level each; after training, so are the generated ones, by class."""
    levels = torch.tensor([20, 120, 230], dtype=torch.uint8)
    images = levels[torch.arange(60) % 3].view(60, 1, 1, 1).expand(60, 1, SIZE, SIZE).contiguous()
    rules = make_rules("hinge", "spectral_norm", n_critic=1, batch_size=20, images=images, labels=torch.arange(60) % 3)
    state = make_state(num_classes=3, constraint="spectral_norm", optimizer="adam", ema=True, learning_rate=0.01)
    train_for(state, rules, 600)
    classes = torch.arange(30) % 3
    with torch.no_grad():
        means = ((state.sampler(torch.randn(30, 3), classes) + 1) * 127.5).mean((1, 2, 3))
    for index, level in enumerate(levels.tolist()):
        # Three levels about 100 apart: a generator that ignores classes is off by 70 on average.
        assert abs(float(means[classes == index].mean()) - level) < 30
