import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.builders import PLAIN, bits, saved, settings, train_for
from wgan_cli.build import build_run
from wgan_cli.constraints import CONSTRAINTS, Clip
from wgan_cli.data import DATASETS, Dataset
from wgan_cli.networks import GENERATORS
from wgan_cli.networks.mlp import MLPGenerator
from wgan_cli.parameters import SettingError
from wgan_cli.players import Generator
from wgan_cli.restore import load_generator, resume_run
from wgan_cli.run.checkpoints import load_checkpoint
from wgan_cli.run.folder import RunFolder
from wgan_cli.sampling import sample_grid
from wgan_cli.training.schedule import CriticSchedule


@pytest.fixture(autouse=True)
def _rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits take half a second each time."""
    monkeypatch.setitem(DATASETS, "glyphs", rendered)


rendered = functools.cache(DATASETS["glyphs"])


def test_a_run_is_what_its_settings_say() -> None:
    run = build_run(settings(sample={"every": 3}, max_steps=7, max_minutes=2.5))
    assert run.real.shape == (14, 3, 12, 12)
    assert run.batch_size == run.rules.generator_batch_size == 4
    assert (run.cadence.epochs, run.cadence.max_steps, run.cadence.updates_per_epoch) == (2, 7, 3)
    assert (run.cadence.sample_every, run.cadence.checkpoint_every, run.max_minutes) == (3, 1, 2.5)
    assert run.state.generator.latent_dim == 3
    assert run.state.ema is not None
    for optimizer in (run.state.generator_optimizer, run.state.critic_optimizer):
        assert [group["lr"] for group in optimizer.param_groups] == [0.01]
    assert build_run(settings(ema=False)).state.ema is None
    assert torch.equal(run.rules.images[0], build_run(settings()).rules.images[0])
    assert not torch.equal(run.rules.images[0], run.rules.generator_images[0])


def test_the_seed_decides_the_first_weights_and_nothing_else_does() -> None:
    first = build_run(settings())
    torch.manual_seed(123)
    again = build_run(settings(n_critic=3, constraint={"name": "none"}, precision="bf16"))
    assert bits(again.state.generator) == bits(first.state.generator)
    assert bits(again.state.critic) == bits(first.state.critic)
    other = build_run(settings(seed=6))
    assert bits(other.state.generator) != bits(first.state.generator)
    assert bits(other.state.critic) != bits(first.state.critic)


@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
def test_null_means_what_the_constraint_usually_wants(constraint: str) -> None:
    usual = CONSTRAINTS[constraint].usual_n_critic
    run = build_run(settings(constraint={"name": constraint}))
    assert run.rules.schedule.n_critic == run.cadence.schedule.n_critic == run.config["n_critic"] == usual
    assert run.config["clip_value"] == (Clip().clip_value if constraint == "clip" else None)
    given = build_run(settings(constraint={"name": constraint}, n_critic=4))
    assert given.rules.schedule.n_critic == given.cadence.schedule.n_critic == given.config["n_critic"] == 4


def test_clip_value_at_the_top_replaces_the_constraints_own() -> None:
    assert build_run(settings()).config["clip_value"] == 0.2
    run = build_run(settings(clip_value=0.003))
    assert run.config["clip_value"] == run.config["constraint"]["clip_value"] == 0.003
    train_for(run.state, run.rules, 1)
    assert max(parameter.abs().max().item() for parameter in run.state.critic.parameters()) == pytest.approx(0.003)


@pytest.mark.parametrize("constraint", sorted(set(CONSTRAINTS) - {"clip"}))
def test_clip_value_where_nothing_clips(constraint: str) -> None:
    with pytest.raises(SettingError, match=rf"clip_value=0.1: constraint={constraint} does not clip.*constraint=clip"):
        build_run(settings(constraint={"name": constraint}, clip_value=0.1))


@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_batch_normalisation_and_a_gradient_penalty(constraint: str, network: str) -> None:
    critic: dict[str, Any] = {"name": network, "normalization": "batch"}
    chosen = settings(critic=critic, constraint={"name": constraint})
    if CONSTRAINTS[constraint].penalizes_gradients:
        with pytest.raises(
            SettingError, match=r"critic.normalization=batch: .*; use critic.normalization=layer or none"
        ):
            build_run(chosen)
        build_run(replace(chosen, critic={**critic, "normalization": "layer"}))
    else:
        build_run(chosen)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 15}, "batch_size=15: must be at most the 14 training images"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"generator_batch_size": 1}, "generator_batch_size=1"),
        ({"loss": {"name": "hing"}}, "did you mean hinge"),
        ({"loss": {"name": "hinge", "margin": 1}}, "loss.margin: no such setting"),
        ({"critic": {"name": "mlp", "hidden_sizes": [0]}}, r"critic.hidden_sizes\[0\]=0"),
        ({"generator": {"name": "mlp", "image_size": 9}}, "generator.image_size: no such setting"),
        ({"optimizer": {"name": "adam", "generator": 1}}, "optimizer.generator: no such setting"),
        ({"dataset": {"name": "glyphs", "image_size": 7}}, "dataset.image_size=7: .* from 8 to 256"),
        ({"device": "banana"}, "device=banana"),
    ],
)
def test_mistakes_name_their_setting(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build_run(settings(**changed))


def test_generator_batches_may_have_a_size_of_their_own() -> None:
    run = build_run(settings(generator_batch_size=7))
    assert (run.batch_size, run.rules.generator_batch_size) == (4, 7)
    assert "batches of 4, 7 for the generator" in run.plan
    assert build_run(settings()).config["generator_batch_size"] == 4
    assert (len(run.rules.images[0]), len(run.rules.generator_images[0])) == (4, 7)
    with pytest.raises(SettingError, match="generator_batch_size=15: must be at most the 14 training images"):
        build_run(settings(generator_batch_size=15))


def test_warm_up_is_the_schedules() -> None:
    run = build_run(settings(n_critic=2, critic_warmup={"updates": 9, "steps": 3, "every": None}))
    assert run.rules.schedule == run.cadence.schedule == CriticSchedule(2, 9, 3, None)
    assert run.config["critic_warmup"] == {"updates": 9, "steps": 3, "every": None}
    with pytest.raises(SettingError, match=r"critic_warmup=.*: would never happen; it needs steps, every or both"):
        build_run(settings(critic_warmup={"updates": 5}))
    for wrong, key in (
        ({"updates": 0, "steps": 3}, "updates"),
        ({"updates": 1, "steps": -1}, "steps"),
        ({}, "updates"),
    ):
        with pytest.raises(SettingError, match=f"critic_warmup.{key}"):
            settings(critic_warmup=wrong)


def test_learning_rates_fall_to_zero_at_the_end() -> None:
    """Three updates an epoch and two epochs make six steps; the rate in a step is that of the steps before it."""
    run = build_run(settings(n_critic=1, optimizer={**PLAIN["optimizer"], "schedule": "linear"}))
    rates = []
    for _ in range(6):
        train_for(run.state, run.rules, 2)
        rates.append(run.state.generator_optimizer.param_groups[0]["lr"])
        assert run.state.critic_optimizer.param_groups[0]["lr"] == rates[-1]
    assert rates == pytest.approx([0.01 * (1 - step / 6) for step in range(6)])


def dataset(**changed: Any) -> dict[str, Any]:
    return {**PLAIN["dataset"], **changed}


def test_images_are_mirrored_where_it_is_asked_for() -> None:
    plain, mirrored = build_run(settings()), build_run(settings(dataset=dataset(flip=True)))
    for mine, others in ((plain.rules.images, mirrored.rules.images),
                         (plain.rules.generator_images, mirrored.rules.generator_images)):  # fmt: skip
        pairs = [pair for position in range(6) for pair in zip(mine[position], others[position], strict=True)]
        assert all(torch.equal(after, before) or torch.equal(after, before.flip(2)) for before, after in pairs)
        assert 0 < sum(not torch.equal(after, before) for before, after in pairs) < len(pairs)
    assert not torch.equal(
        mirrored.rules.images[0], build_run(settings(seed=6, dataset=dataset(flip=True))).rules.images[0]
    )


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_training_with_classes(network: str, tmp_path: Path) -> None:
    chosen = settings(
        dataset=dataset(conditional=True), generator={"name": network, "latent_dim": 3}, critic={"name": network}
    )
    run = build_run(chosen)
    assert run.state.generator.num_classes == 10
    assert "of 10 classes" in run.plan
    train_for(run.state, run.rules, 4)
    folder = tmp_path / "run"
    file = saved(run, folder / "checkpoints" / "last.pt")
    assert load_checkpoint(file, "").images.num_classes == 10
    generator = load_generator(folder)
    assert generator.num_classes == 10
    assert run.state.ema is not None
    assert bits(generator) == bits(run.state.ema)
    latents, classes = torch.randn(2, 3), torch.tensor([3, 3])
    assert not torch.equal(generator(latents, classes), generator(latents, classes + 1))
    resumed, _ = resume_run(RunFolder(folder), chosen, [])
    assert bits(train_for(resumed.state, resumed.rules, 5)) == bits(train_for(run.state, run.rules, 5))


def test_without_classes_networks_are_those_that_they_were() -> None:
    run, conditional = build_run(settings()), build_run(settings(dataset=dataset(conditional=True)))
    assert run.state.generator.num_classes is None
    assert run.rules.images.classes(0) is None
    extra = set(conditional.state.generator.state_dict()) - set(run.state.generator.state_dict())
    assert [name.rpartition(".")[0] for name in extra] == ["first.embedding"]


def test_a_dataset_without_classes_cannot_be_conditional(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(image_size: int, channels: int, limit: int) -> Dataset:
        return Dataset(rendered(image_size, channels, limit).train, rendered(image_size, channels, limit).test)

    monkeypatch.setitem(DATASETS, "bare", bare)
    with pytest.raises(SettingError, match=r"dataset.conditional=true: bare has no classes"):
        build_run(settings(dataset=dataset(name="bare", conditional=True)))
    assert build_run(settings(dataset=dataset(name="bare", conditional=False))).state.generator.num_classes is None


class Own(Generator):
    """A network of a user's own, written as README says: it need not remember how many classes there are."""

    def __init__(self, image_size: int, channels: int, num_classes: int | None, latent_dim: int = 3) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (channels, image_size, image_size)
        self.by_class = nn.Embedding(num_classes or 1, latent_dim)
        self.linear = nn.Linear(latent_dim, channels * image_size**2)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            latents = latents + self.by_class(labels)
        images: Tensor = self.linear(latents).tanh().view(-1, *self.shape)
        return images


def test_a_network_of_ones_own_that_knows_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "own", Own)
    for conditional, num_classes in ((True, 10), (False, None)):
        run = build_run(settings(generator={"name": "own"}, dataset=dataset(conditional=conditional)))
        train_for(run.state, run.rules, 3)
        assert run.state.sampler.num_classes == num_classes
        assert sample_grid(run.state.sampler, 0).dim() == 3


class Blind(MLPGenerator):
    """A network of a user's own, which knows nothing of classes."""

    def __init__(self, image_size: int, channels: int, latent_dim: int = 3) -> None:
        super().__init__(image_size, channels, latent_dim=latent_dim)


def test_a_network_that_knows_no_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "blind", Blind)
    train_for((run := build_run(settings(generator={"name": "blind"}))).state, run.rules, 3)
    with pytest.raises(SettingError, match=r"dataset.conditional=true: generator=blind cannot be told of classes"):
        build_run(settings(generator={"name": "blind"}, dataset=dataset(conditional=True)))
    for key in ("num_classes", "image_size"):
        with pytest.raises(SettingError, match=f"critic.{key}: no such setting"):
            build_run(settings(critic={"name": "mlp", key: 3}))
