"""The optimizers against the papers' formulas, with settings other than the defaults."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tests.references import Adam, RMSprop
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import SettingError, bind

STEPS = 5


def gradients(seed: int) -> list[torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return [torch.randn(3, generator=stream) for _ in range(STEPS)]


@pytest.mark.parametrize(
    ("name", "settings", "reference"),
    [
        ("rmsprop", {"alpha": 0.9, "eps": 1e-3}, lambda rate: RMSprop(rate, alpha=0.9, eps=1e-3)),
        ("adam", {"betas": [0, 0.9], "eps": 1e-3}, lambda rate: Adam(rate, betas=(0.0, 0.9), eps=1e-3)),
        ("adam", {"betas": [0.5, 0.999], "eps": 1e-8}, lambda rate: Adam(rate, betas=(0.5, 0.999), eps=1e-8)),
    ],
)
def test_updates_are_the_formulas(
    name: str, settings: dict[str, object], reference: Callable[[float], RMSprop | Adam]
) -> None:
    players = [nn.Linear(3, 1, bias=False) for _ in range(2)]
    rates = {"learning_rate": 0.01, "critic_learning_rate": 0.03}
    optimizers = bind(OPTIMIZERS[name], {**settings, **rates}, generator=players[0], critic=players[1], progress=float)
    for seed, (player, optimizer, rate) in enumerate(zip(players, optimizers, rates.values(), strict=True)):
        expected, rule = player.weight.detach().double().numpy().copy(), reference(rate)
        for gradient in gradients(seed):
            player.weight.grad = gradient.view(1, 3).clone()
            optimizer.step()
            expected = rule.step(expected, gradient.view(1, 3).double().numpy())
        # float32 against float64: five updates of about 0.03 each, with relative errors of some 1e-7
        np.testing.assert_allclose(player.weight.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_critic_has_the_same_rate_unless_it_has_its_own(name: str) -> None:
    generator, critic = nn.Linear(1, 1), nn.Linear(1, 1)
    for own, rate in ((None, 0.5), (0.25, 0.25)):
        settings = {"learning_rate": 0.5, "critic_learning_rate": own}
        of_generator, of_critic = bind(OPTIMIZERS[name], settings, generator=generator, critic=critic, progress=float)
        assert (of_generator.param_groups[0]["lr"], of_critic.param_groups[0]["lr"]) == (0.5, rate)
        assert of_generator.param_groups[0]["params"] == list(generator.parameters())
        assert of_critic.param_groups[0]["params"] == list(critic.parameters())


@pytest.mark.parametrize(("key", "value"), [("learning_rate", 0), ("critic_learning_rate", -1.0), ("eps", 0.0)])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_rates_are_above_zero(name: str, key: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"optimizer.{key}={value}: must be a number above 0"):
        bind(
            OPTIMIZERS[name],
            {key: value},
            "optimizer",
            generator=nn.Linear(1, 1),
            critic=nn.Linear(1, 1),
            progress=float,
        )


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_learning_rates_follow_the_schedule(name: str, schedule: str) -> None:
    """gan_cifar_resnet.py: LR * max(0, 1 - iteration / ITERS), with the gradient's part in the update as it was."""
    players = [nn.Linear(3, 1, bias=False) for _ in range(2)]
    done = 0.0
    settings: dict[str, object] = {"learning_rate": 0.01, "critic_learning_rate": 0.03, "schedule": schedule}
    if name == "adam":
        settings["betas"] = [0.5, 0.999]  # as the reference has it
    optimizers = bind(OPTIMIZERS[name], settings, generator=players[0], critic=players[1], progress=lambda: done)
    make: dict[str, type[Adam] | type[RMSprop]] = {"adam": Adam, "rmsprop": RMSprop}
    for player, optimizer, rate in zip(players, optimizers, (0.01, 0.03), strict=True):
        expected, rule = player.weight.detach().double().numpy().copy(), make[name](rate)
        for share, gradient in zip((0.0, 0.25, 0.5, 0.9, 1.0, 1.25), [*gradients(3), torch.ones(3)], strict=True):
            done = share
            rule.learning_rate = rate * (max(0.0, 1 - share) if schedule == "linear" else 1)
            player.weight.grad = gradient.view(1, 3).clone()
            optimizer.step()
            expected = rule.step(expected, gradient.view(1, 3).double().numpy())
        # As above.
        np.testing.assert_allclose(player.weight.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_restored_optimizer_keeps_to_its_schedule() -> None:
    """The rate that a checkpoint holds is that of its last step; it is not what the next ones are multiples of."""
    player = nn.Linear(1, 1)
    done = 0.5
    settings = {"learning_rate": 0.8, "schedule": "linear"}

    def make() -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = bind(
            OPTIMIZERS["adam"], settings, generator=player, critic=nn.Linear(1, 1), progress=lambda: done
        )[0]
        return made

    def step(optimizer: torch.optim.Optimizer) -> float:
        player.weight.grad = torch.ones_like(player.weight)
        optimizer.step()
        return float(optimizer.param_groups[0]["lr"])

    first = make()
    assert step(first) == pytest.approx(0.4)
    again = make()
    again.load_state_dict(first.state_dict())
    done = 0.75
    assert step(again) == pytest.approx(0.2)
