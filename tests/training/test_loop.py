import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from tests import references
from tests.builders import (
    LATENT_DIM,
    SIZE,
    DropoutCritic,
    bits,
    make_algorithm,
    make_state,
    train_for,
    updates,
    weights,
)
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.losses import LOSSES, Wasserstein
from wgan_cli.networks.players import Batch
from wgan_cli.optimizers import Schedule
from wgan_cli.training.loop import Algorithm, freeze, generate, score, train, update_critic, update_generator
from wgan_cli.training.schedule import CriticSchedule, Position
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Purpose, derive_seed

BOTH_OPTIMIZERS = pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])


def record_inputs(network: nn.Module) -> list[Batch]:
    """List what goes into a network from now on."""
    seen: list[Batch] = []
    network.register_forward_pre_hook(lambda _module, inputs: seen.append(Batch(*inputs)))
    return seen


def spy(target: object, method: str, note: Callable[..., object]) -> None:
    """Call ``note`` before each call of a method, with its arguments."""
    original = getattr(target, method)

    def spied(*args: Any) -> Any:
        note(*args)
        return original(*args)

    object.__setattr__(target, method, spied)  # a constraint is frozen


# The order of updates.

EVENTS = {"c": ["critic loss", "penalty", "critic step", "project"], "g": ["generator loss", "generator step"]}


@pytest.mark.parametrize(
    ("schedule", "kinds"),
    [
        (CriticSchedule(1), "cgcgc"),
        (CriticSchedule(5), "cccccgcccccgc"),
        (CriticSchedule(2, warmup_updates=4, warmup_steps=2, warmup_every=3), "ccccgccccgccgccccgccgccgccc"),
    ],
)
def test_order_of_updates(schedule: CriticSchedule, kinds: str) -> None:
    """Algorithm 1: n_critic times (loss, step, then clip), then one generator update, and nothing after the stop.

    An epoch has three batches: PyTorch-GAN counts anew in each. The last schedule is WassersteinGAN/main.py's, smaller.
    """
    events: list[str] = []
    positions: list[Position] = []
    state, algorithm = make_state(), make_algorithm(schedule=schedule)
    for target, method, event in (
        (algorithm.loss, "critic", "critic loss"),
        (algorithm.loss, "generator", "generator loss"),
        (algorithm.constraint, "penalty", "penalty"),
        (algorithm.constraint, "project", "project"),
        (state.critic_optimizer, "step", "critic step"),
        (state.generator_optimizer, "step", "generator step"),
    ):
        spy(target, method, lambda *_, event=event: events.append(event))
    train(state, algorithm, updates(len(kinds), lambda now: positions.append(now.position)))
    assert events == [event for kind in kinds for event in EVENTS[kind]]
    done = [kinds[: count + 1] for count in range(len(kinds))]
    assert positions == [Position(k.count("g"), k.count("c"), len(k) - k.rfind("g") - 1) for k in done]


def test_each_update_has_new_latents_and_new_dropout() -> None:
    """torch-fidelity's example uses one batch for all critic updates of a step."""
    state, algorithm = make_state(), make_algorithm(n_critic=2, generator_batch_size=7, seed=11)
    seeds: list[int] = []
    seen = record_inputs(state.generator)
    state.generator.register_forward_pre_hook(lambda *_: seeds.append(torch.initial_seed()))
    train_for(state, algorithm, 6)
    order: list[tuple[Purpose, Purpose, int, int]] = []
    for step in range(2):
        order += [("critic latents", "critic dropout", 2 * step + index, 4) for index in range(2)]
        order.append(("generator latents", "generator dropout", step, 7))
    for batch, seed, (latents, dropout, position, count) in zip(seen, seeds, order, strict=True):
        stream = algorithm.streams.at(latents, position)
        assert torch.equal(batch.samples, torch.randn(count, LATENT_DIM, generator=stream))
        assert seed == derive_seed(11, dropout, position)  # of the global stream


# What an update leaves alone.


def give_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)


def keeps_gradients(network: nn.Module) -> bool:
    return all(parameter.grad is not None and bool((parameter.grad == 7).all()) for parameter in network.parameters())


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
def test_a_critic_update_leaves_the_generator_alone(constraint: str, optimizer: str) -> None:
    """Fakes are detached: neither weights nor gradients of the generator change, and no graph of it is built."""
    state = make_state(optimizer=optimizer, constraint=constraint)
    give_gradients(state.generator)
    seen = record_inputs(state.critic)
    before, critic = bits([state.generator, state.generator_optimizer.state_dict()]), weights(state.critic)
    update_critic(state, make_algorithm(constraint=constraint))
    assert bits([state.generator, state.generator_optimizer.state_dict()]) == before
    assert weights(state.critic) != critic
    assert keeps_gradients(state.generator)
    assert all(batch.samples.grad_fn is None for batch in seen)


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_generator_update_leaves_the_critic_alone(loss: str, optimizer: str) -> None:
    state, algorithm = make_state(optimizer=optimizer), make_algorithm(loss=loss)
    before, generator = bits([state.critic, state.critic_optimizer.state_dict()]), weights(state.generator)
    update_generator(state, algorithm)
    assert all(parameter.grad is None for parameter in state.critic.parameters())  # not even computed
    assert bits([state.critic, state.critic_optimizer.state_dict()]) == before
    assert weights(state.generator) != generator
    assert all(parameter.requires_grad for parameter in state.critic.parameters())
    give_gradients(state.critic)
    update_generator(state, algorithm)
    assert keeps_gradients(state.critic)


def test_freeze_ends_after_an_exception_as_well() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    with freeze(network):
        assert [parameter.requires_grad for parameter in network.parameters()] == [False, False]
    with pytest.raises(RuntimeError, match="shapes"), freeze(network):
        network(torch.ones(1, 3))
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, False]  # as before


# Scoring and precision.


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Relative to the largest score: initial scores are as small as 1e-6."""
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize(("normalization", "calls"), [("none", 1), ("layer", 1), ("batch", 2)])
@pytest.mark.parametrize("networks", ["mlp", "dcgan"])
def test_one_call_or_two(networks: str, normalization: str, calls: int, num_classes: int | None) -> None:
    state = make_state(networks, critic_normalization=normalization, num_classes=num_classes)
    classes = None if num_classes is None else torch.tensor([0, 1, 2, 1])
    real = Batch(torch.randn(4, 1, SIZE, SIZE), classes)
    fake = Batch(torch.randn(4, 1, SIZE, SIZE) * 0.2 + 3, classes)
    expected = state.critic(*real), state.critic(*fake)
    both = torch.cat([real.samples, fake.samples]), None if classes is None else classes.repeat(2)
    joined = state.critic(*both).split(4)
    score_now = partial(score, state.critic, separately=state.critic_mixes_samples)
    seen = record_inputs(state.critic)
    scores = score_now(real, fake)
    assert len(seen) == calls
    for batch, ours, separate, together in zip((real, fake), scores, expected, joined, strict=True):
        assert ours.shape == (4,)
        assert difference(ours, separate) < 1e-4  # float32: another batch size sums in another order
        if normalization == "batch":
            assert difference(separate, together) > 0.01  # otherwise there would be no reason for two calls
        if classes is not None:
            assert difference(ours, state.critic(batch.samples, classes.flip(0))) > 1e-3

    seen.clear()
    nothing, fake_scores = score_now(Batch(real.samples[:0], classes), fake)
    assert nothing.shape == (0,)
    assert [batch.samples.shape for batch in seen] == [fake.samples.shape]
    assert difference(fake_scores, expected[1]) < 1e-4


@pytest.mark.parametrize(("normalization", "sizes"), [("layer", [8, 8]), ("batch", [4, 4, 4, 4])])
def test_both_updates_score_separately_if_the_critic_mixes_samples(normalization: str, sizes: list[int]) -> None:
    state, algorithm = make_state(critic_normalization=normalization), make_algorithm("relativistic", n_critic=1)
    seen = record_inputs(state.critic)
    train_for(state, algorithm, 2)
    assert [len(batch.samples) for batch in seen] == sizes


def test_only_forward_passes_run_in_the_runs_precision() -> None:
    dtypes: list[tuple[str, torch.dtype]] = []

    def record_scores(_real: Tensor, scores: Tensor) -> None:
        dtypes.append(("scores", scores.dtype))
        assert not torch.is_autocast_enabled("cpu")

    state = make_state(constraint="gradient_penalty")
    for name in ("generator", "critic"):
        (first, *_) = references.layers(getattr(state, name))
        first.register_forward_hook(lambda _module, _inputs, output, name=name: dtypes.append((name, output.dtype)))
    seen = record_inputs(state.critic)
    autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    algorithm = make_algorithm(constraint="gradient_penalty", n_critic=1, autocast=autocast)
    for player in ("critic", "generator"):
        spy(algorithm.loss, player, record_scores)
    train_for(state, algorithm, 2)
    low, full = torch.bfloat16, torch.float32
    update = [("generator", low), ("critic", low), ("scores", full)]
    assert dtypes == [*update, ("critic", full), *update]  # the penalty calls the critic in float32
    assert all(batch.samples.dtype == full for batch in seen)
    assert not torch.is_autocast_enabled("cpu")
    assert all(parameter.dtype == full for parameter in [*state.critic.parameters(), *state.generator.parameters()])


# Two steps by hand, in plain torch and the references' formulas.

EPS = 1e-3  # so large that the rounding of a small gradient is not enlarged to the size of a step
RATE, CRITIC_RATE = 0.01, 0.02


class ByHand(references.Training):
    """Each image is scored alone, and optimizers are the references'. The rates fall to zero after four steps."""

    def __init__(self, state: TrainingState, algorithm: Algorithm, loss: str, constraint: str, optimizer: str) -> None:
        generator, critic = copy.deepcopy(state.generator), copy.deepcopy(state.critic)
        super().__init__(generator, critic, algorithm, LATENT_DIM, loss, constraint)
        self.clip_value, self.rates = 0.03, {generator: RATE, critic: CRITIC_RATE}
        make = {"adam": references.Adam, "rmsprop": references.RMSprop}[optimizer]
        self.optimizers = {network: [make(0, eps=EPS) for _ in network.parameters()] for network in self.rates}

    def scores(self, samples: Tensor) -> Tensor:
        return torch.cat([self.critic(sample[None]) for sample in samples]).double()

    def descend(self, network: nn.Module, objective: Tensor, step: int) -> None:
        parameters = list(network.parameters())
        found = torch.autograd.grad(objective, parameters)
        for parameter, gradient, optimizer in zip(parameters, found, self.optimizers[network], strict=True):
            optimizer.learning_rate = self.rates[network] * (1 - step / 4)
            moved = optimizer.step(parameter.detach().double().numpy(), gradient.double().numpy())
            parameter.data.copy_(torch.from_numpy(np.asarray(moved)))


@BOTH_OPTIMIZERS
@pytest.mark.parametrize(
    ("loss", "constraint"),
    [
        ("wasserstein", "clip"),
        ("hinge", "none"),
        ("nonsaturating", "none"),
        ("relativistic_average", "gradient_penalty"),
    ],
)
def test_two_steps_are_those_computed_by_hand(loss: str, constraint: str, optimizer: str) -> None:
    """The learning rates fall linearly, to zero after four steps. The generator meets a critic that is clipped."""
    state = make_state(optimizer=optimizer, constraint=constraint, eps=EPS, learning_rate=RATE)
    state.critic_optimizer.param_groups[0]["initial_lr"] = CRITIC_RATE
    algorithm = make_algorithm(loss, constraint, n_critic=2, rate=lambda step: Schedule("linear").scale(step, 4))
    hand = ByHand(state, algorithm, loss, constraint, optimizer)
    start = parameters_to_vector(state.critic.parameters()).detach()
    rows: list[dict[str, float]] = []
    for step, share in enumerate((1.0, 0.75)):
        train_for(state, algorithm, 3)
        assert state.critic_optimizer.param_groups[0]["lr"] == share * CRITIC_RATE
        assert state.generator_optimizer.param_groups[0]["lr"] == share * RATE
        rows += [hand.update_critic(position, step) for position in (2 * step, 2 * step + 1)]
        rows.append(hand.update_generator(step))
    for network, expected in ((state.critic, hand.critic), (state.generator, hand.generator)):
        for parameter, other in zip(network.parameters(), expected.parameters(), strict=True):
            # float32 sums in another order change a gradient by some 1e-7, and 0.01 · 1e-7 / EPS is 1e-6 an update;
            # an update itself moves a weight by up to 0.01.
            torch.testing.assert_close(parameter, other, rtol=0, atol=2e-5)
    assert (parameters_to_vector(state.critic.parameters()) - start).abs().max() > 0.01
    names = ("critic_loss", "penalty", "wasserstein_estimate", "generator_loss")
    means = {name: np.mean([row[name] for row in rows if name in row]) for name in names}
    assert state.means.read() == pytest.approx(means, rel=1e-4, abs=1e-5)


def test_the_average_moves_once_in_each_step() -> None:
    state = make_state(ema=True, networks="dcgan", generator_normalization="batch")
    algorithm = make_algorithm(n_critic=2)
    assert state.ema is not None

    def flatten(network: nn.Module) -> references.Array:
        return parameters_to_vector(network.parameters()).detach().double().numpy()

    history = [flatten(state.generator)]
    for update in range(9):
        before = bits(state.ema)
        train_for(state, algorithm, 1)
        assert (bits(state.ema) != before) == (update % 3 == 2)
        if update % 3 == 2:
            history.append(flatten(state.generator))
    np.testing.assert_allclose(flatten(state.ema), references.moving_average(history), rtol=1e-5, atol=1e-6)


# Losses and gradients that are not finite. The table says what a generator's loss becomes in its bad update.

POISONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nan": lambda loss, _: loss * math.nan,
    "infinite, with a finite gradient": lambda loss, _: loss + math.inf,
    "finite, with 0 · ∞ as its gradient": lambda loss, fake: loss + (fake * 0).square().sum().sqrt(),
    "finite gradients, whose norm overflows": lambda loss, fake: loss + 1e25 * fake.sum(),
}


class PoisonedLoss(Wasserstein):
    def __init__(self, update: int, poison: str) -> None:
        self.left, self.poison = update, POISONS[poison]

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        self.left -= 1
        loss = super().generator(real_scores, fake_scores)
        return loss if self.left else self.poison(loss, fake_scores)


def assert_stands_still(
    state: TrainingState, clean: Algorithm, poisoned: Algorithm, bad_update: int, step: int
) -> None:
    """Train to the bad update and beyond: weights change before it, and from it on not by a bit."""
    expected = train_for(copy.deepcopy(state), clean, bad_update - 1)
    train_for(state, poisoned, bad_update - 1)
    assert int(state.failed_step) == -1
    assert bits(state) == bits(expected)
    before = weights(state.generator), weights(state.critic)
    for _ in range(7):
        train_for(state, poisoned, 1)
        assert (weights(state.generator), weights(state.critic)) == before
        assert int(state.failed_step) == step
    assert all(weight.isfinite().all() for weight in [*state.generator.parameters(), *state.critic.parameters()])


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("constraint", ["none", "clip", "gradient_penalty", "spectral_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("position", [0, 3, 4])
def test_a_bad_critic_loss_never_reaches_the_weights(
    position: int, value: float, constraint: str, optimizer: str
) -> None:
    state, clean = make_state(optimizer=optimizer, constraint=constraint), make_algorithm(constraint=constraint)
    if constraint == "clip":
        clean.constraint.project(state.critic)  # otherwise the projection of the bad update might be the first
    batches = {index: Batch(clean.batches[index].samples.clone()) for index in range(position + 7)}
    for bad in (position, position + 3):
        batches[bad].samples[0, 0, 0, 0] = value
    poisoned = replace(clean, batches=batches)
    assert_stands_still(state, clean, poisoned, bad_update=position + position // 2 + 1, step=position // 2 + 1)


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("step", [1, 3])
def test_a_bad_generator_loss_or_gradient_never_reaches_the_weights(step: int, poison: str, optimizer: str) -> None:
    clean = make_algorithm(constraint="none")
    poisoned = replace(clean, loss=PoisonedLoss(step, poison))
    state = make_state(optimizer=optimizer, max_norm=0.01 if step == 3 else None)
    assert_stands_still(state, clean, poisoned, bad_update=3 * step, step=step)


@BOTH_OPTIMIZERS
@pytest.mark.parametrize("max_norm", [None, 0.01, 1e6])
def test_masking_does_not_disturb_good_updates(max_norm: float | None, optimizer: str) -> None:
    """The update is the one that torch's own optimizer takes without a mask, after torch's own clipping."""
    state, algorithm = make_state(optimizer=optimizer, max_norm=max_norm), make_algorithm(constraint="none")
    other = copy.deepcopy(state)
    update_critic(state, algorithm)
    with torch.no_grad():
        fake = generate(other.generator, 4, algorithm.streams.at("critic latents", 0), None)
    other.critic_optimizer.zero_grad()
    scores = score(other.critic, algorithm.batches[0], fake, separately=False)
    torch.autograd.backward(algorithm.loss.critic(*scores))
    if max_norm is not None:
        norm = torch.nn.utils.clip_grad_norm_(other.critic.parameters(), max_norm)
        assert 0.01 < float(norm) < 1e6
    other.critic_optimizer.step()
    assert weights(state.critic) == weights(other.critic)
    assert bits(state.critic_optimizer.state_dict()) == bits(other.critic_optimizer.state_dict())


# Looking.


def look_hard(state: TrainingState) -> None:
    """Do all that grids and metrics might do, without care for the random streams."""
    torch.randn(3)
    torch.manual_seed(12345)
    torch.randperm(5)
    for network, shape in ((state.sampler, (2, LATENT_DIM)), (state.critic, (2, 1, SIZE, SIZE))):
        was_training = network.training
        network.eval()
        with torch.no_grad():
            network(torch.randn(shape))
        network.train(was_training)
    _ = state.means.read(), state.tensors(), state.counts()


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize(
    ("loss", "constraint", "critic"),
    [("hinge", "spectral_norm", None), ("relativistic", "none", None), ("wasserstein", "clip", DropoutCritic)],
)
def test_looking_changes_nothing(loss: str, constraint: str, critic: type[DropoutCritic] | None, ema: bool) -> None:
    def train_with(look: Callable[[TrainingState], None] | None) -> dict[str, Any]:
        torch.manual_seed(0)
        state = make_state("dcgan", "adam", constraint, ema=ema, critic=None if critic is None else critic())
        train(state, make_algorithm(loss, constraint), updates(8, look))
        return bits(state)

    assert train_with(look_hard) == train_with(None)


# Classes.


def test_the_critic_sees_fakes_of_the_real_samples_classes() -> None:
    """Both halves of a pair have the same class, and so do the penalty's points between them."""
    state = make_state(num_classes=3)
    algorithm = make_algorithm(labels=torch.arange(14) % 3, constraint="gradient_penalty", n_critic=1)
    generator_inputs, critic_inputs = record_inputs(state.generator), record_inputs(state.critic)
    train_for(state, algorithm, 2)
    of_critic, of_generator = algorithm.batches[0].classes, algorithm.generator_batches[0].classes
    assert of_critic is not None
    assert bits(of_critic) != bits(of_generator)
    assert bits([batch.classes for batch in generator_inputs]) == bits([of_critic, of_generator])
    expected = [of_critic.repeat(2), of_critic, of_generator]  # the loss's call, the penalty's, the generator's
    assert bits([batch.classes for batch in critic_inputs]) == bits(expected)


def test_a_generator_learns_its_classes() -> None:
    """The images of each class have one level of grey. After training, so do the generated ones."""
    levels = torch.tensor([20, 120, 230], dtype=torch.uint8)
    labels = torch.arange(60) % 3
    images = levels[labels].view(60, 1, 1, 1).expand(60, 1, SIZE, SIZE).contiguous()
    algorithm = make_algorithm("hinge", "spectral_norm", n_critic=1, batch_size=20, images=images, labels=labels)
    state = make_state(num_classes=3, constraint="spectral_norm", optimizer="adam", ema=True, learning_rate=0.01)
    train_for(state, algorithm, 600)
    classes = torch.arange(30) % 3
    with torch.no_grad():
        means = ((state.sampler(torch.randn(30, 3), classes) + 1) * 127.5).mean((1, 2, 3))
    for index, level in enumerate(levels.tolist()):
        # The levels are about 100 apart: a generator that ignores classes is off by 70 on average.
        assert abs(float(means[classes == index].mean()) - level) < 30
