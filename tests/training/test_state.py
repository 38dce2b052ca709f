import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.builders import SIZE, bits, make_rules, make_state, through_a_file, train_for
from wgan_cli.training.loop import Rules
from wgan_cli.training.state import RunningMeans, TrainingState

CPU = torch.device("cpu")


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value)


def test_running_means() -> None:
    means = RunningMeans()
    assert means.read() == {}
    means.add(loss=scalar(1.0), penalty=scalar(10.0))
    means.add(loss=scalar(2.0))
    means.add(loss=scalar(6.0))
    assert means.read() == {"loss": 3.0, "penalty": 10.0}
    assert means.read() == {"loss": 3.0, "penalty": 10.0}  # reading forgets nothing
    means.reset()
    assert means.read() == {}
    means.add(loss=scalar(5.0))
    assert means.read() == {"loss": 5.0}


def test_running_means_sum_in_float64() -> None:
    """A thousand small values after a large one: a float32 sum would lose each of them."""
    means = RunningMeans()
    means.add(loss=scalar(1e8))
    for _ in range(1000):
        means.add(loss=scalar(1.0))
    assert means.read()["loss"] == (1e8 + 1000) / 1001


def test_running_means_keep_no_graph_and_are_not_changed_by_what_was_added() -> None:
    means, weight = RunningMeans(), torch.ones((), requires_grad=True)
    value = weight * 2
    means.add(loss=value)
    assert not any(total.requires_grad for total in means.state_dict()["sums"].values())
    value.detach().add_(5)
    means.add(loss=scalar(0.0))
    assert means.read() == {"loss": 1.0}


def test_running_means_pass_nan_on() -> None:
    means = RunningMeans()
    means.add(loss=scalar(math.nan))
    means.add(loss=scalar(1.0))
    assert math.isnan(means.read()["loss"])


def test_running_means_round_trip() -> None:
    means, other = RunningMeans(), RunningMeans()
    for value in (0.1, 0.2, 0.7):
        means.add(critic_loss=scalar(value), penalty=scalar(value / 3))
    other.add(generator_loss=scalar(1.0))
    other.load_state_dict(through_a_file(means.state_dict()), CPU)
    assert other.read() == means.read()
    other.add(critic_loss=scalar(1.0))
    means.add(critic_loss=scalar(1.0))
    assert other.read() == means.read()
    assert bits(other.state_dict()) == bits(means.state_dict())


def test_state_dict_is_a_snapshot_of_the_means() -> None:
    means = RunningMeans()
    means.add(loss=scalar(1.0))
    saved = means.state_dict()
    means.add(loss=scalar(3.0))
    means.reset()
    assert saved == {"sums": {"loss": scalar(1.0)}, "counts": {"loss": 1}}


# Resuming: k updates, a file, fresh objects, and n more, against k + n without a stop.

UPDATES = 11  # with n_critic 2 three whole steps and a part, and more than two epochs of three batches
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "wasserstein, clip, mlp, rmsprop": ({"loss": "wasserstein", "constraint": "clip"}, {}),
    "wasserstein, gradient_penalty, dcgan, adam": (
        {"loss": "wasserstein", "constraint": "gradient_penalty"},
        {"networks": "dcgan", "optimizer": "adam", "constraint": "gradient_penalty", "learning_rate": 1e-3},
    ),
    "hinge, spectral_norm, dcgan, adam": (
        {"loss": "hinge", "constraint": "spectral_norm"},
        {"networks": "dcgan", "optimizer": "adam", "constraint": "spectral_norm", "learning_rate": 1e-3},
    ),
    "relativistic, BatchNorm critic, dcgan, adam, bf16": (
        {
            "loss": "relativistic_average",
            "constraint": "none",
            "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
        },
        {
            "networks": "dcgan",
            "optimizer": "adam",
            "constraint": "none",
            "critic_normalization": "batch",
            "learning_rate": 1e-3,
        },
    ),
}


def dropout_critic() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIZE * SIZE, 6), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(6, 1), nn.Flatten(0)
    )


def fresh(recipe: str, ema: bool, seed: int) -> tuple[TrainingState, Rules]:
    rules, state = RECIPES[recipe]
    return make_state(ema=ema, seed=seed, **state), make_rules(**rules)


@pytest.mark.parametrize("stop", range(1, 7))
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resumed_run_is_the_run_that_was_never_stopped(recipe: str, stop: int) -> None:
    """Every tensor bit for bit, for a stop after each update of two whole steps."""
    ema = stop != 2  # with an average and, once, without
    uninterrupted = train_for(*fresh(recipe, ema, seed=0), UPDATES)

    first = train_for(*fresh(recipe, ema, seed=0), stop)
    assert (first.step, first.critic_updates, first.critic_updates_in_step) == (
        stop // 3,
        stop - stop // 3,
        stop % 3,
    )
    saved = through_a_file(first.state_dict())
    torch.manual_seed(999)  # nothing may depend on the global stream as it happens to stand
    second, rules = fresh(recipe, ema, seed=1)  # other first weights: what is not restored, differs
    second.load_state_dict(saved)
    assert bits(second) == bits(first)
    train_for(second, rules, UPDATES - stop)

    assert bits(second) == bits(uninterrupted)
    assert bits(second) != bits(first)
    assert second.means.read() == uninterrupted.means.read()
    assert int(second.failed_step) == -1


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_dropout_resumes_too(stop: int) -> None:
    """Dropout takes no stream of its own, so each update seeds the global one."""

    def state(seed: int) -> TrainingState:
        torch.manual_seed(seed)
        return make_state(critic=dropout_critic(), seed=seed)

    uninterrupted = train_for(state(0), make_rules(), 8)
    first = train_for(state(0), make_rules(), stop)
    torch.manual_seed(999)
    second = state(1)
    second.load_state_dict(through_a_file(first.state_dict()))
    assert bits(train_for(second, make_rules(), 8 - stop)) == bits(uninterrupted)


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_is_reproducible_and_the_seed_matters(recipe: str) -> None:
    def trained(seed: int) -> dict[str, Any]:
        state, _ = fresh(recipe, True, seed=0)
        return bits(train_for(state, make_rules(**RECIPES[recipe][0], seed=seed), 4))

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


def test_state_dict_holds_plain_data_only() -> None:
    state = train_for(make_state("dcgan", "adam", ema=True), make_rules(), 4)

    def leaves(value: object) -> set[type]:
        if isinstance(value, dict):
            return {kind for key, part in value.items() for kind in {type(key)} | leaves(part)}
        if isinstance(value, list | tuple):
            return {kind for part in value for kind in leaves(part)}
        return {type(value)}

    assert leaves(through_a_file(state.state_dict())) <= {str, int, float, bool, type(None), torch.Tensor}


def test_rows_and_running_sums_are_part_of_the_state() -> None:
    state = train_for(make_state(), make_rules(), 4)
    state.rows = 1
    other = make_state(seed=1)
    other.load_state_dict(through_a_file(state.state_dict()))
    assert other.rows == 1
    assert other.means.read() == state.means.read() != {}


@pytest.mark.parametrize("part", list(make_state().state_dict()))
def test_a_missing_part_is_a_key_error(part: str) -> None:
    saved = make_state(ema=True).state_dict()
    del saved[part]
    with pytest.raises(KeyError, match=part):
        make_state(ema=True).load_state_dict(saved)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="its weights are of another network"):
        make_state("mlp").load_state_dict(make_state("dcgan").state_dict())


def test_sampler_is_the_average_where_there_is_one() -> None:
    plain, averaged = make_state(), make_state(ema=True)
    assert plain.sampler is plain.generator
    assert averaged.sampler is averaged.ema


# A state that comes from anybody.


def broken(*path: str | int, value: Any) -> dict[str, Any]:
    """The state of a run of seven updates, with one thing in it exchanged, or taken out."""
    saved = through_a_file(train_for(make_state(ema=True, optimizer="adam"), make_rules(), 7).state_dict())
    place: Any = saved
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return saved


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("generator", "last.weight"), None, "its weights are of another network: last.weight"),
        (("critic", "another"), torch.zeros(3), "its weights are of another network: another"),
        (("ema", "last.bias"), torch.zeros(3), "last.bias is torch.float32"),
        (("ema", "last.bias"), torch.zeros(144, dtype=torch.float64), "last.bias is torch.float64"),
        (("ema", "last.bias"), [0.0] * 144, "last.bias is no tensor"),
        (("critic_optimizer", 0), {"step": torch.zeros(())}, "an optimizer's memory of parameter 0"),
        (("critic_optimizer", 99), {}, "an optimizer remembers 7 parameters, and there are 6"),
        (("critic_optimizer", 1), None, "an optimizer remembers 5 parameters, and there are 6"),
        (("critic_optimizer", "0"), {}, "an optimizer remembers 7 parameters, and there are 6"),
        (("critic_optimizer",), {}, "an optimizer remembers 0 parameters, and there are 6"),
        (("generator_optimizer", 0, "exp_avg"), torch.zeros(1), "exp_avg of parameter 0"),
        (("generator_optimizer", 0, "step"), torch.zeros(1), "step of parameter 0"),
        (("generator_optimizer", 0, "exp_avg"), None, "an optimizer's memory of parameter 0"),
        (("generator_optimizer", 0, "max_exp_avg"), torch.zeros(1), "an optimizer's memory of parameter 0"),
        (("step",), -1, "step must be a whole number"),
        (("step",), True, "step must be a whole number"),
        (("rows",), 2**60, "rows must be a whole number"),
        (("rows",), 10, "10 rows of metrics after 2 steps"),
        (("critic_updates",), 1.0, "critic_updates must be a whole number"),
        (("means", "sums", "critic_loss"), None, "sums of"),
        (("means", "counts", "critic_loss"), 0, "count of critic_loss"),
        (("means", "sums", "critic_loss"), torch.zeros(2, dtype=torch.float64), "sum of critic_loss"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(path: tuple[str | int, ...], value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_state(ema=True, optimizer="adam").load_state_dict(broken(*path, value=value))


def test_running_means_of_other_things_are_refused() -> None:
    means = RunningMeans()
    means.add(secret=scalar(1.0))
    with pytest.raises(ValueError, match="sums of secret"):
        RunningMeans().load_state_dict(means.state_dict(), CPU)


def test_an_optimizer_keeps_the_settings_that_it_was_built_with() -> None:
    """Its rates are the run's settings, and what a file says of them does not count."""
    saved = train_for(make_state(optimizer="adam", learning_rate=0.5), make_rules(), 7).state_dict()
    other = make_state(optimizer="adam", learning_rate=0.25)
    other.load_state_dict(saved)
    assert [group["lr"] for group in other.critic_optimizer.param_groups] == [0.25]
    assert "lr" not in str(saved)
