"""Every loss with every constraint, and every constraint with every pair of networks: they train, and it holds."""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import references
from tests.builders import train_for, weights
from tests.commands import compose
from wgan_cli.build.run import build_run
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data import DATASETS
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.networks.players import Batch
from wgan_cli.parameters import bind
from wgan_cli.run.session import Run
from wgan_cli.settings import Settings

pytestmark = pytest.mark.slow
# Each network with its own kind, and some with others.
PAIRS = [*((name, name) for name in sorted(GENERATORS)), ("dcgan", "mlp"), ("mlp", "resnet")]
# Each loss meets each constraint, and each constraint meets each pair of networks.
COMBINATIONS = [
    (loss, constraint, *PAIRS[(i + j) % len(PAIRS)])
    for i, loss in enumerate(sorted(LOSSES))
    for j, constraint in enumerate(sorted(CONSTRAINTS))
]
CLIP = 0.015  # less than the initial weights, so that clipping has something to do
compose_once = functools.cache(compose)
load_once = functools.cache(DATASETS["glyphs"])


@pytest.fixture(autouse=True)
def _load_digits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "glyphs", load_once)


def choose(group: str, name: str) -> dict[str, Any]:
    """Return the settings of an option, of the smallest size if it is a network."""
    size = {"mlp": "hidden_sizes=[8,8]"}.get(name, "width=4")
    settings = compose_once(f"{group}={name}", *([] if group == "constraint" else [f"{group}.{size}"]))
    part: dict[str, Any] = settings[group]
    return part | ({"dropout": 0} if "dropout" in part else {})  # for comparisons with formulas


def build(loss: str, constraint: str, generator: str, critic: str) -> Run:
    """Build a tiny run with the loss's own optimizer."""
    base = compose_once(f"loss={loss}", "dataset.limit=24", "dataset.image_size=16")
    chosen = {
        "batch_size": 6,
        "n_critic": 2,
        "device": "cpu",
        "precision": "fp32",
        "clip_value": CLIP if constraint == "clip" else None,
        "constraint": choose("constraint", constraint),
        "generator": choose("generator", generator),
        "critic": choose("critic", critic),
    }
    return build_run(bind(Settings, {**base, **chosen}))


def compute_gradients(critic: nn.Module, points: Tensor) -> Any:
    """The critic's gradient at each point, one at a time."""
    found = []
    for point in points:
        image = point[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(image).sum(), image)
        found.append(gradient[0].double().numpy())
    return np.stack(found)


def check_clip(run: Run) -> None:
    largest = [parameter.abs().max().item() for parameter in run.state.critic.parameters()]
    assert max(largest) <= CLIP * (1 + 1e-6)
    assert max(largest) >= CLIP * (1 - 1e-6)  # and it had something to do


def check_spectral_norm(run: Run) -> None:
    layers = [layer for layer in run.state.critic.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    originals = [dict(layer.named_parameters())["parametrizations.weight.original"] for layer in layers]
    assert len(layers) >= 3
    for layer in layers:
        assert references.largest_singular_value(layer.weight.detach().numpy()) == pytest.approx(1, rel=0.05)
    away = [abs(references.largest_singular_value(original.detach().numpy()) - 1) for original in originals]
    assert max(away) > 0.05  # or there was nothing to do


def check_penalty(run: Run, one_sided: bool) -> None:
    """Against the papers' formula, with the critic as trained and with one that is far too steep."""
    reference = references.lipschitz_penalty if one_sided else references.gradient_penalty
    critic, constraint = run.state.critic, run.algorithm.constraint
    real, stream = run.algorithm.batches[0], torch.Generator()
    fake = torch.rand(real.samples.shape, generator=stream.manual_seed(1)) * 2 - 1
    for steepness in (1.0, 1e3):
        with torch.no_grad():
            list(critic.parameters())[-1 if len(list(critic.parameters())[-1].shape) > 1 else -2].mul_(steepness)
        epsilon = torch.rand(len(fake), 1, 1, 1, generator=stream.manual_seed(2))
        at = compute_gradients(critic, epsilon * real.samples + (1 - epsilon) * fake)
        penalty = constraint.penalty(critic, real, Batch(fake), stream.manual_seed(2))
        assert penalty.item() == pytest.approx(reference(at, 10.0), rel=1e-3, abs=1e-9)
        norms = references.sample_norms(at)
        assert (penalty.item() > 0) == bool((norms > 1).any() if one_sided else (norms != 1).any())
    assert penalty.item() > 0


@pytest.mark.parametrize(("loss", "constraint", "generator", "critic"), COMBINATIONS)
def test_combination(loss: str, constraint: str, generator: str, critic: str) -> None:
    run = build(loss, constraint, generator, critic)
    before = [weights(network) for network in (run.state.generator, run.state.critic)]
    train_for(run.state, run.algorithm, 7)  # two steps, and a critic update after them
    assert (run.state.position.step, run.state.position.critic_updates) == (2, 5)

    means = run.state.means.read()
    assert means.keys() == {"critic_loss", "penalty", "generator_loss", "wasserstein_estimate"}
    assert np.isfinite(list(means.values())).all()
    assert int(run.state.failed_step) == -1
    for network, earlier in zip((run.state.generator, run.state.critic), before, strict=True):
        assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
        now = weights(network)
        changed = [name for name in now if now[name] != earlier[name]]
        assert len(changed) >= len(now) - 2  # a bias before BatchNorm has no gradient

    if constraint == "clip":
        check_clip(run)
    elif constraint == "spectral_norm":
        check_spectral_norm(run)
    elif constraint == "none":
        assert means["penalty"] == 0
    else:
        assert means["penalty"] > 0 or constraint == "lipschitz_penalty"
        check_penalty(run, one_sided=constraint == "lipschitz_penalty")


def test_nothing_is_left_out() -> None:
    assert (len(LOSSES), len(CONSTRAINTS)) == (8, 5)
    assert {generator for generator, _ in PAIRS} == set(GENERATORS)
    assert {critic for _, critic in PAIRS} == set(CRITICS)
    for constraint in CONSTRAINTS:
        assert {tuple(players) for _, name, *players in COMBINATIONS if name == constraint} == set(PAIRS)


@pytest.mark.parametrize(("generator", "critic"), sorted(set(itertools.product(GENERATORS, CRITICS)) - set(PAIRS)))
def test_each_network_plays_against_each(generator: str, critic: str) -> None:
    run = build("wasserstein", "gradient_penalty", generator, critic)
    train_for(run.state, run.algorithm, 3)
    assert int(run.state.failed_step) == -1
