import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from tests.builders import CADENCE, data_spec, make_algorithm, make_state, settings, train_for
from wgan_cli.errors import InputError
from wgan_cli.networks.mlp import MLPCritic, MLPGenerator
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.run.checkpoints import Checkpoint, save_checkpoint
from wgan_cli.run.plan import check_space, count_checkpoints, describe_run, measure_checkpoint
from wgan_cli.training.ema import copy_for_average
from wgan_cli.training.schedule import CriticSchedule, Position
from wgan_cli.training.state import TrainingState


def make_large_state(optimizer: str, ema: bool) -> TrainingState:
    """About 700,000 weights: 12 · 12 pixels, two layers of 512 units in either player."""
    generator = MLPGenerator((1, 12, 12), latent_dim=64, normalization="none", hidden_sizes=(512, 512))
    critic = MLPCritic((1, 12, 12), hidden_sizes=(512, 512))
    optimizers = OPTIMIZERS[optimizer](generator, critic)
    average = copy_for_average(generator) if ema else None
    return TrainingState(generator, critic, optimizers.generator, optimizers.critic, average)


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_checkpoints_have_the_predicted_size(optimizer: str, ema: bool, tmp_path: Path) -> None:
    state = make_large_state(optimizer, ema)
    random = torch.get_rng_state()
    predicted = measure_checkpoint(state)
    assert torch.equal(torch.get_rng_state(), random)
    train_for(state, make_algorithm(n_critic=1), 2)
    save_checkpoint(tmp_path / "a", Checkpoint({}, data_spec(), state.counts(), state.tensors()))
    assert predicted == measure_checkpoint(state) == pytest.approx((tmp_path / "a").stat().st_size, rel=0.01)


def test_the_plan() -> None:
    state = make_large_state("adam", ema=True)
    chosen = settings(generator_batch_size=4)
    plan = describe_run(chosen, state, CADENCE, replace(data_spec(), count=400), "bf16")
    # 64·512 + 512, 512·512 + 512, 512·144 + 144; the critic 144·512 + 512, 512·512 + 512, 512 + 1.
    for words in (
        "cpu, 1 thread, bf16",
        "glyphs, 400 for training, 1×12×12, batches of 4\n",
        f"), {33_280 + 262_656 + 73_872:,} parameters, averaged for samples",
        f"), {74_240 + 262_656 + 513:,} parameters\n",
        "wasserstein, constraint clip (clip_value 0.2), n_critic 5\n",
        "rmsprop (learning_rate 0.01)\n",
        "4 epochs, 80 steps; an epoch has 100 critic updates\n",
        f"2 of {measure_checkpoint(state) / 1e6:.1f} MB",
    ):
        assert words in plan
    assert "resumes" not in plan


def test_the_plan_of_a_resumed_run_with_everything() -> None:
    state = make_state()
    state.position = Position(26, 130, 0)
    chosen = settings(max_steps=50, max_minutes=1.5, generator_batch_size=7, dataset={"name": "mnist", "flip": True})
    cadence = replace(CADENCE, max_steps=50, schedule=CriticSchedule(5, 100, 25, 500))
    plan = describe_run(chosen, state, cadence, data_spec(num_classes=10), "fp32")
    for words in (
        "batches of 4, 7 for the generator, flipped at random, 10 classes (c0, c1, c2, c3, c4, c5, c6, c7, c8, c9)\n",
        "n_critic 5 (100 in the first 25 steps and every 500th step)\n",
        "or 1.5 minutes; an epoch has 100 critic updates\n",
        "after step 26, in epoch 2",
    ):
        assert words in plan
    assert "averaged" not in plan


def test_the_plan_of_a_run_that_only_the_time_limits() -> None:
    cadence = replace(CADENCE, epochs=None)
    plan = describe_run(settings(epochs=None, max_minutes=5), make_state(), cadence, data_spec(), "fp32")
    assert "\nlength      5 minutes; an epoch has 100 critic updates\n" in plan
    assert plan.endswith(" MB each")
    assert [count_checkpoints(make_state(), cadence, keep) for keep in (None, 2)] == [None, 2]


def test_checkpoints_that_the_rest_of_the_run_writes() -> None:
    """After epochs 3, 6, 9 and, because it is the last, 10."""
    state, cadence = make_state(), replace(CADENCE, epochs=10)
    assert [count_checkpoints(state, cadence, keep) for keep in (None, 2, 7)] == [4, 2, 4]
    assert count_checkpoints(state, replace(cadence, max_steps=30), None) == 1
    for critic_updates in (850, 1000):  # at least the last
        state.position = Position(0, critic_updates, 0)
        assert count_checkpoints(state, cadence, None) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_free_disk_space(exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space that counts is that of the folder, or of the nearest parent that exists."""
    folder = tmp_path if exists else tmp_path / "outputs" / "run"
    disk_usage = Mock(return_value=SimpleNamespace(free=5_000_000))
    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert check_space(folder, 1_000_000, 4) is None  # four, and a fifth while it is written
    warning = str(check_space(folder, 1_000_000, 5))
    assert "need 6.0 MB, and" in warning
    assert "has 5.0 MB left; checkpoint.keep=3" in warning
    assert check_space(folder, 2_500_000, 1) is None
    with pytest.raises(InputError, match=r"^needs 5\.0 MB for two checkpoints; .* has 5\.0 MB left$"):
        check_space(folder, 2_500_001, 1)
    assert {call.args for call in disk_usage.call_args_list} == {(tmp_path,)}
