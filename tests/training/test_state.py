import json
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.builders import DropoutCritic, bits, make_algorithm, make_state, train_for
from wgan_cli.training.loop import Algorithm
from wgan_cli.training.schedule import Position
from wgan_cli.training.state import RunningMeans, TrainingState


def scalar(value: float) -> Tensor:
    return torch.tensor(value)


def test_running_means() -> None:
    means = RunningMeans()
    assert means.read() == {}
    means.add(loss=scalar(1.0), penalty=scalar(10.0))
    means.add(loss=scalar(2.0))
    means.add(loss=scalar(6.0))
    for _ in range(2):  # reading forgets nothing
        assert means.read() == {"loss": 3.0, "penalty": 10.0}
    means.reset()
    assert means.read() == {}
    means.add(loss=scalar(5.0))
    means.add(loss=scalar(math.nan), penalty=scalar(1.0))
    assert means.read() == {"loss": pytest.approx(math.nan, nan_ok=True), "penalty": 1.0}


def test_running_means_are_float64_and_keep_neither_graph_nor_memory() -> None:
    """A thousand small values after a large one: a float32 sum would lose each of them."""
    means, value = RunningMeans(), torch.ones((), requires_grad=True) * 1e8
    means.add(loss=value)
    assert not means.sums["loss"].requires_grad
    value.detach().add_(1e8)
    for _ in range(1000):
        means.add(loss=scalar(1.0))
    assert means.read()["loss"] == (1e8 + 1000) / 1001


# Resuming: k updates, a checkpoint's contents, fresh objects, and n more updates, against k + n without a stop.


def resume(state: TrainingState, saved: TrainingState) -> TrainingState:
    """Load what a checkpoint stores: tensors, and counts that survive JSON."""
    tensors = {name: tensor.detach().clone() for name, tensor in saved.tensors().items()}
    state.load(tensors, json.loads(json.dumps(saved.counts())))
    return state


UPDATES = 11  # with n_critic 2 three complete steps and a part, and more than two epochs of three batches
BF16 = partial(torch.autocast, "cpu", torch.bfloat16)
DCGAN = {"networks": "dcgan", "optimizer": "adam", "learning_rate": 1e-3}
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "wasserstein, clip, mlp, rmsprop": ({}, {}),
    "wasserstein, gradient_penalty, dcgan, adam": ({"constraint": "gradient_penalty"}, DCGAN),
    "hinge, spectral_norm, dcgan, adam": ({"loss": "hinge", "constraint": "spectral_norm"}, DCGAN),
    "relativistic, BatchNorm critic, dcgan, adam, bf16": (
        {"loss": "relativistic_average", "constraint": "none", "autocast": BF16},
        {**DCGAN, "critic_normalization": "batch"},
    ),
    "relativistic, classes": ({"loss": "relativistic", "labels": torch.arange(14) % 3}, {"num_classes": 3}),
    "dropout": ({}, {"critic": DropoutCritic}),
}


def build(recipe: str, ema: bool = True, seed: int = 0) -> tuple[TrainingState, Algorithm]:
    """Build a recipe's state and algorithm. The seed is that of the initial weights."""
    of_algorithm, of_state = RECIPES[recipe]
    torch.manual_seed(seed)
    own = {**of_state, "critic": of_state["critic"]()} if "critic" in of_state else of_state
    state = make_state(ema=ema, seed=seed, constraint=of_algorithm.get("constraint", "clip"), **own)
    return state, make_algorithm(**of_algorithm)


@pytest.mark.parametrize("stop", range(1, 7))
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resumed_run_equals_the_uninterrupted_one(recipe: str, stop: int) -> None:
    """Every tensor is the same bit for bit, after a stop at each update of two complete steps."""
    ema = stop != 2  # once without an average
    uninterrupted = train_for(*build(recipe, ema), UPDATES)

    first = train_for(*build(recipe, ema), stop)
    assert first.position == Position(stop // 3, stop - stop // 3, stop % 3)
    first.rows = uninterrupted.rows = stop // 3
    torch.manual_seed(999)  # the state of the global stream must not matter
    second, algorithm = build(recipe, ema, seed=1)  # other initial weights, so that anything not restored shows
    assert bits(resume(second, first)) == bits(first)
    train_for(second, algorithm, UPDATES - stop)

    assert bits(second) == bits(uninterrupted) != bits(first)
    assert second.means.read() == uninterrupted.means.read() != {}
    assert int(second.failed_step) == -1


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_is_reproducible_and_the_seed_matters(recipe: str) -> None:
    def train_with(seed: int) -> dict[str, Any]:
        state, _ = build(recipe)
        return bits(train_for(state, make_algorithm(**RECIPES[recipe][0], seed=seed), 4))

    assert train_with(1) == train_with(1)
    assert train_with(1) != train_with(2)


@pytest.mark.parametrize(("player", "updates"), [("generator", 2), ("critic", 5)])
def test_an_optimizer_without_tensors_is_refused_after_updates(player: str, updates: int) -> None:
    saved = train_for(make_state(optimizer="adam"), make_algorithm(), 7)
    tensors = {name: value for name, value in saved.tensors().items() if not name.startswith(f"{player}_optimizer.")}
    with pytest.raises(ValueError, match=f"the optimizer has tensors for 0 parameters after {updates} updates"):
        make_state(optimizer="adam").load(tensors, saved.counts())


def test_an_optimizer_keeps_its_settings_and_the_layout_of_its_parameters() -> None:
    """A checkpoint does not set the learning rate, and fused kernels need slots in the layout of their parameter."""
    saved = train_for(make_state("dcgan", "adam", learning_rate=0.5), make_algorithm(), 7)
    state = make_state("dcgan", "adam", learning_rate=0.25)
    state.critic.to(memory_format=torch.channels_last)
    resume(state, saved)
    (group,) = state.critic_optimizer.param_groups
    assert (group["lr"], group["initial_lr"]) == (0.25, 0.25)
    for parameter, slots in state.critic_optimizer.state.items():
        assert slots["exp_avg"].stride() == slots["exp_avg_sq"].stride() == parameter.stride()


def test_the_sampler_is_the_average_if_there_is_one() -> None:
    plain, averaged = make_state(), make_state(ema=True)
    assert plain.sampler is plain.generator
    assert averaged.sampler is averaged.ema


# A checkpoint may come from anybody.

WEIGHT, MEAN = torch.zeros(144), torch.zeros((), dtype=torch.float64)
SLOT = "critic_optimizer.last.score.weight"


def train_adam() -> TrainingState:
    return train_for(make_state(ema=True, optimizer="adam"), make_algorithm(), 7)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("generator.last.weight", None, "its weights are of another network: last.weight"),
        ("critic.another", torch.zeros(3), "its weights are of another network: another"),
        ("ema.last.bias", WEIGHT[:3], r"last.bias is torch.float32 \(3,\) but must be torch.float32 \(144,\)"),
        ("ema.last.bias", WEIGHT.double(), "last.bias is torch.float64"),
        (f"{SLOT}.exp_avg", None, "the optimizer stores only step, exp_avg_sq for last.score.weight"),
        (f"{SLOT}.exp_avg", torch.zeros(1), "last.score.weight.exp_avg is torch.float32"),
        (f"{SLOT}.step", torch.zeros(1), "last.score.weight.step is torch.float32"),
        (f"{SLOT}.max_exp_avg", torch.zeros(1, 5), "unknown optimizer tensors: last.score.weight.max_exp_avg"),
        ("critic_optimizer.another.exp_avg", torch.zeros(1), "unknown optimizer tensors: another.exp_avg"),
        ("another", torch.zeros(3), "unknown tensors or means: another"),
        ("means.another", MEAN, "unknown tensors or means: critic_loss"),
        ("means.critic_loss", None, "unknown tensors or means"),
        ("means.critic_loss", MEAN.float(), "means.critic_loss is torch.float32"),
        ("means.critic_loss", torch.zeros(2).double(), "means.critic_loss is torch.float64"),
    ],
    ids=str,
)
def test_tensors_that_do_not_fit_are_refused(name: str, value: Tensor | None, words: str) -> None:
    saved = train_adam()
    tensors = {**saved.tensors(), name: value}
    known = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(ValueError, match=words):
        make_state(ema=True, optimizer="adam").load(known, saved.counts())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step": -1}, "step must be a whole number from 0 to 2⁵³"),
        ({"step": True}, "step must be a whole number"),
        ({"step": None}, "step must be a whole number"),
        ({"critic_updates": 1.0}, "critic_updates must be a whole number"),
        ({"critic_updates_in_step": 2**53}, "critic_updates_in_step must be a whole number"),
        ({"rows": "1"}, "rows must be a whole number"),
        ({"rows": 10}, "10 rows of metrics after 2 steps"),
        ({"means": {}}, "unknown tensors or means: critic_loss"),
        ({"means": {"critic_loss": 0}}, "critic_loss must be a whole number from 1"),
    ],
    ids=str,
)
def test_counts_that_are_impossible_are_refused(changes: dict[str, Any], words: str) -> None:
    saved = train_adam()
    counts = {**saved.counts(), **changes}
    if changes.get("means"):
        counts["means"] = {**saved.counts()["means"], **changes["means"]}
    with pytest.raises(ValueError, match=words):
        make_state(ema=True, optimizer="adam").load(saved.tensors(), counts)
