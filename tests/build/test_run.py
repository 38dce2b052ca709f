from typing import Any

import pytest

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
    assert run.real.shape == (3, 4 * 14 + 2, 4 * 14 + 2)
    assert (run.data.shape, run.data.count) == ((3, 12, 12), 14)
    assert run.state.generator.latent_dim == 3
    for optimizer in (run.state.generator_optimizer, run.state.critic_optimizer):
        assert [group["lr"] for group in optimizer.param_groups] == [0.01]
    assert run.state.ema is not None
    assert build_run(settings(ema=None)).state.ema is None
    train_for(run.state, run.algorithm, 1)
    assert max(parameter.abs().max().item() for parameter in run.state.critic.parameters()) == pytest.approx(0.003)


def test_learning_rates_fall_to_zero_at_the_end() -> None:
    """Three updates an epoch and two epochs make six steps. The rate in a step depends on the steps before it."""
    run = build_run(settings(optimizer={**settings().optimizer, "schedule": "linear"}))
    for step in range(6):
        train_for(run.state, run.algorithm, 2)
        for optimizer in (run.state.generator_optimizer, run.state.critic_optimizer):
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01 * (1 - step / 6)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": {"name": "hing"}}, "did you mean hinge"),
        ({"loss": {"name": "hinge", "margin": 1}}, "loss.margin: no such setting"),
        ({"device": "banana"}, "device=banana"),
    ],
)
def test_mistakes_name_their_setting(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build_run(settings(**changed))
