from typing import Any

import pytest
import torch

from tests.builders import settings, train_for
from wgan_cli.build.run import build_run
from wgan_cli.build.settle import build_cadence, settle
from wgan_cli.errors import SettingError


def test_a_run_is_what_its_settings_say() -> None:
    chosen = settings(n_critic=3, generator_batch_size=7, clip_value=0.003)
    run = build_run(chosen)
    assert run.settings == settle(chosen)
    assert run.cadence == build_cadence(run.settings, 14)
    assert run.algorithm.schedule == run.cadence.schedule
    assert run.algorithm.generator_batch_size == 7
    assert run.real.shape == (14, 3, 12, 12)
    assert (run.data.shape, run.data.count) == ((3, 12, 12), 14)
    assert run.state.generator.latent_dim == 3
    for optimizer in (run.state.generator_optimizer, run.state.critic_optimizer):
        assert [group["lr"] for group in optimizer.param_groups] == [0.01]
    assert run.state.ema is not None
    assert build_run(settings(ema=False)).state.ema is None
    train_for(run.state, run.algorithm, 1)
    assert max(parameter.abs().max().item() for parameter in run.state.critic.parameters()) == pytest.approx(0.003)


def test_convolutions_run_channels_last() -> None:
    run = build_run(settings(generator={"name": "dcgan", "width": 2}, critic={"name": "dcgan", "width": 2}))
    for network in (run.state.generator, run.state.critic, run.state.sampler):
        weights = [parameter for parameter in network.parameters() if parameter.dim() == 4]
        assert len(weights) > 2
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_learning_rates_fall_to_zero_at_the_end() -> None:
    """Three updates an epoch and two epochs make six steps. The rate in a step depends on the steps before it."""
    run = build_run(settings(optimizer={"name": "rmsprop", "learning_rate": 0.01, "schedule": "linear"}))
    rates = []
    for _ in range(6):
        train_for(run.state, run.algorithm, 2)
        (critic,), (generator,) = run.state.critic_optimizer.param_groups, run.state.generator_optimizer.param_groups
        rates.append(generator["lr"])
        assert critic["lr"] == pytest.approx(0.2 * rates[-1])
    assert rates == pytest.approx([0.01 * (1 - step / 6) for step in range(6)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": {"name": "hing"}}, "did you mean hinge"),
        ({"loss": {"name": "hinge", "margin": 1}}, "loss.margin: no such setting"),
        ({"constraint": {"name": "clip", "clip_value": 0}}, "constraint.clip_value=0"),
        ({"device": "banana"}, "device=banana"),
        ({"batch_size": 15, "critic": {"name": "mlp", "hidden_sizes": []}}, "batch_size=15"),
        ({"critic": {"name": "dcgan", "normalization": "nope"}}, "critic.normalization=nope"),
    ],
)
def test_mistakes_name_their_setting(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build_run(settings(**changed))
