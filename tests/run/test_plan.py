from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import CADENCE, CPU, images_info, make_rules, train_for, uint8_images
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.run.checkpoints import Checkpoint, save_checkpoint
from wgan_cli.run.plan import describe_run
from wgan_cli.run.space import checkpoint_bytes
from wgan_cli.training.ema import ema_of
from wgan_cli.training.state import TrainingState

CONFIG: dict[str, Any] = {
    "batch_size": 4,
    "generator_batch_size": 4,
    "max_steps": None,
    "max_minutes": None,
    "checkpoint": {"every": 3, "keep": None},
    "dataset": {"name": "glyphs"},
    "generator": {"name": "mlp"},
    "critic": {"name": "mlp"},
    "loss": {"name": "wasserstein"},
    "constraint": {"name": "clip", "clip_value": 0.5},
    "optimizer": {"name": "adam", "learning_rate": 0.25, "critic_learning_rate": None},
}


def large_state(optimizer: str, ema: bool) -> TrainingState:
    """About a million weights: 12 · 12 pixels, 512 and 1,024 hidden units in either player."""
    generator = GENERATORS["mlp"](12, 1, latent_dim=64, hidden_sizes=(512, 512), normalization="none")
    critic = CRITICS["mlp"](12, 1, hidden_sizes=(512, 512))
    optimizers = OPTIMIZERS[optimizer](generator, critic, float)
    return TrainingState(generator, critic, *optimizers, ema=ema_of(generator) if ema else None)


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_checkpoints_are_as_large_as_was_said(optimizer: str, ema: bool, tmp_path: Path) -> None:
    state = large_state(optimizer, ema)
    said = checkpoint_bytes(state)
    assert sum(p.numel() for n in (state.generator, state.critic) for p in n.parameters()) > 700_000
    train_for(state, make_rules(n_critic=1), 2)
    save_checkpoint(tmp_path / "a.pt", Checkpoint(CONFIG, images_info(), state.state_dict()))
    assert said == pytest.approx((tmp_path / "a.pt").stat().st_size, rel=0.05)


def test_what_is_said_does_not_depend_on_what_was_trained() -> None:
    state = large_state("adam", ema=True)
    fresh = checkpoint_bytes(state)
    random = torch.get_rng_state()
    train_for(state, make_rules(n_critic=1), 2)
    assert checkpoint_bytes(state) == fresh
    torch.set_rng_state(random)


def test_the_plan() -> None:
    state = large_state("adam", ema=True)
    plan = describe_run(CONFIG, state, CADENCE, uint8_images(400), "bf16")
    # 64·512 + 512, 512·512 + 512, 512·144 + 144; the critic 144·512 + 512, 512·512 + 512, 512 + 1.
    for words in (
        f"{33_280 + 262_656 + 73_872:,} parameters, averaged for samples",
        f"{74_240 + 262_656 + 513:,} parameters",
        "bf16",
        "glyphs, 400 to train on, 1×12×12, batches of 4",
        "wasserstein, constraint clip (clip_value 0.5)",
        "adam (learning_rate 0.25)",
        "80 steps in all",
        f"2 of {checkpoint_bytes(state) / 1e6:.1f} MB",
    ):
        assert words in plan
    assert state.device == CPU
    assert "cpu" in plan
    assert "goes on" not in plan


def test_limits_and_where_a_run_goes_on() -> None:
    state = large_state("rmsprop", ema=False)
    state.critic_updates, state.step = 130, 26
    cadence = replace(CADENCE, max_steps=50)
    plan = describe_run({**CONFIG, "max_steps": 50, "max_minutes": 1.5}, state, cadence, uint8_images(400), "fp32")
    assert "50 steps in all, at most 50 steps or 1.5 minutes" in plan
    assert "after step 26, in epoch 2" in plan
    assert "averaged" not in plan
