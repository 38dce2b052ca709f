"""The optimizers against the papers' formulas, with settings other than the defaults."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tests.references import Adam, RMSprop
from wgan_cli.errors import SettingError
from wgan_cli.optimizers import OPTIMIZERS, Optimizers, Schedule, Shape
from wgan_cli.parameters import bind

PLAYERS = {"generator": nn.Linear(3, 1), "critic": nn.Linear(3, 1)}


def build(name: str, **settings: object) -> tuple[list[nn.Linear], Optimizers]:
    players = [nn.Linear(3, 1, bias=False) for _ in range(2)]
    optimizers: Optimizers = bind(OPTIMIZERS[name], settings, "optimizer", generator=players[0], critic=players[1])
    return players, optimizers


@pytest.mark.parametrize(
    ("name", "settings", "reference"),
    [
        ("rmsprop", {"alpha": 0.9, "eps": 1e-3}, lambda rate: RMSprop(rate, alpha=0.9, eps=1e-3)),
        ("adam", {"betas": [0, 0.9], "eps": 1e-3}, lambda rate: Adam(rate, betas=(0.0, 0.9), eps=1e-3)),
    ],
)
def test_updates_are_the_formulas(
    name: str, settings: dict[str, object], reference: Callable[[float], RMSprop | Adam]
) -> None:
    players, (*optimizers, _) = build(name, learning_rate=0.01, critic_learning_rate=0.03, **settings)
    stream = torch.Generator().manual_seed(0)
    for player, optimizer, rate in zip(players, optimizers, (0.01, 0.03), strict=True):
        expected, rule = player.weight.detach().double().numpy().copy(), reference(rate)
        for _ in range(5):
            gradient = torch.randn(1, 3, generator=stream)
            player.weight.grad = gradient.clone()
            optimizer.step()
            expected = rule.step(expected, gradient.double().numpy())
        # float32 against float64: five updates of about 0.03 each, with relative errors of some 1e-7
        np.testing.assert_allclose(player.weight.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("critic_rate", "expected"), [(None, 0.5), (0.25, 0.25)])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_each_player_has_its_initial_rate(name: str, critic_rate: float | None, expected: float) -> None:
    players, (*optimizers, schedule) = build(name, learning_rate=0.5, critic_learning_rate=critic_rate)
    assert schedule == Schedule("constant", 0)
    for player, optimizer, rate in zip(players, optimizers, (0.5, expected), strict=True):
        (group,) = optimizer.param_groups
        assert group["initial_lr"] == group["lr"] == rate
        assert [id(parameter) for parameter in group["params"]] == [id(player.weight)]


@pytest.mark.parametrize(("key", "value"), [("learning_rate", 0), ("critic_learning_rate", -1.0), ("eps", 0.0)])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_rates_are_above_zero(name: str, key: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"optimizer.{key}={value}: must be a number above 0"):
        build(name, **{key: value})


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        ("constant", [1, 1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.1, 0, 0]),  # gan_cifar_resnet.py: LR * max(0, 1 - iteration / ITERS)
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.cos(0.1 * math.pi)) / 2, 0, 0]),
    ],
)
def test_schedules_of_the_learning_rates(shape: Shape, shares: list[float]) -> None:
    steps = (0, 25, 50, 90, 100, 125)
    assert [Schedule(shape).scale(step, 100) for step in steps] == pytest.approx(shares, abs=1e-12)
    warm = Schedule(shape, warmup_steps=4)
    assert [warm.scale(step, 104) for step in range(4)] == [0.25, 0.5, 0.75, 1]
    assert [warm.scale(4 + step, 104) for step in steps] == pytest.approx(shares, abs=1e-12)
    assert warm.scale(3, 2) == 1  # a run that ends before
    assert bind(OPTIMIZERS["adam"], {"schedule": shape, "warmup_steps": 4}, "", **PLAYERS).schedule == warm
