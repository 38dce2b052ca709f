"""Every loss with every constraint and every pair of networks: it trains, and the constraint holds."""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import references
from tests.builders import train_for, weights
from wgan_cli.build import build_run
from wgan_cli.cli.compose import composed, plain
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data import DATASETS
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.parameters import bind
from wgan_cli.run.session import Run
from wgan_cli.settings import Settings

pytestmark = pytest.mark.slow
TINY = {
    "generator": {
        "dcgan": ["generator.width=4"],
        "dcgan_5x5": ["generator.width=4"],
        "mlp": ["generator.hidden_sizes=[8,8]"],
        "resnet": ["generator.width=4"],
        "upsample_conv": ["generator.width=4"],
    },
    "critic": {
        "dcgan": ["critic.width=4"],
        "dcgan_5x5": ["critic.width=4"],
        "mlp": ["critic.hidden_sizes=[8,8]"],
        "resnet": ["critic.width=4"],
        "upsample_conv": ["critic.width=4", "critic.dropout=0"],  # the constraints are compared with formulas
    },
}
# Each network beside its own kind, and some beside others.
PAIRS = [*((name, name) for name in sorted(GENERATORS)), ("dcgan", "mlp"), ("mlp", "resnet")]
CLIP = 0.015  # less than the first weights have, so that clipping has something to do

# The command's own configuration takes a tenth of a second to compose, and the digits half a second to render.
part = functools.cache(lambda *words: plain(composed("train", words) or pytest.fail("not composed")))
rendered = functools.cache(DATASETS["glyphs"])


def make(loss: str, constraint: str, generator: str, critic: str) -> Run:
    """Build a tiny run from the options that the command would compose, with the loss's own optimizer."""
    base = part(f"loss={loss}", f"constraint={constraint}", "dataset.limit=24", "dataset.image_size=16")
    players = part(f"generator={generator}", f"critic={critic}", *TINY["generator"][generator], *TINY["critic"][critic])
    chosen = {
        "batch_size": 6,
        "n_critic": 2,
        "device": "cpu",
        "precision": "fp32",
        "clip_value": CLIP if constraint == "clip" else None,
        "generator": players["generator"],
        "critic": players["critic"],
    }
    return build_run(bind(Settings, {**base, **chosen}))


def gradients(critic: nn.Module, points: Tensor) -> Any:
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
    critic, constraint = run.state.critic, run.rules.constraint
    real, stream = run.rules.images[0], torch.Generator()
    fake = torch.rand(real.shape, generator=stream.manual_seed(1)) * 2 - 1
    for steepness in (1.0, 1e3):
        with torch.no_grad():
            list(critic.parameters())[-1 if len(list(critic.parameters())[-1].shape) > 1 else -2].mul_(steepness)
        epsilon = torch.rand(len(real), 1, 1, 1, generator=stream.manual_seed(2))
        at = gradients(critic, epsilon * real + (1 - epsilon) * fake)
        penalty = constraint.penalty(critic, real, fake, stream.manual_seed(2))
        assert penalty.item() == pytest.approx(reference(at, 10.0), rel=1e-3, abs=1e-9)
        norms = references.sample_norms(at)
        assert (penalty.item() > 0) == bool((norms > 1).any() if one_sided else (norms != 1).any())
    assert penalty.item() > 0


@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_combination(loss: str, constraint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "glyphs", rendered)
    for generator, critic in PAIRS:
        run = make(loss, constraint, generator, critic)
        before = [weights(network) for network in (run.state.generator, run.state.critic)]
        train_for(run.state, run.rules, 7)  # two steps, and a critic update after them
        where = f"{generator} against {critic}"
        assert (run.state.step, run.state.critic_updates) == (2, 5), where

        means = run.state.means.read()
        assert means.keys() == {"critic_loss", "penalty", "generator_loss", "wasserstein_estimate"}
        assert np.isfinite(list(means.values())).all(), where
        assert int(run.state.failed_step) == -1
        for network, earlier in zip((run.state.generator, run.state.critic), before, strict=True):
            assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
            now = weights(network)
            changed = [name for name in now if now[name] != earlier[name]]
            assert len(changed) >= len(now) - 2, where  # a bias before BatchNorm has no gradient

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
    assert (len(LOSSES), len(CONSTRAINTS)) == (7, 5)
    assert set(TINY["generator"]) == {generator for generator, _ in PAIRS} == set(GENERATORS)
    assert set(TINY["critic"]) == {critic for _, critic in PAIRS} == set(CRITICS)


def test_each_network_plays_against_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "glyphs", rendered)
    for generator, critic in itertools.product(GENERATORS, CRITICS):
        run = make("wasserstein", "gradient_penalty", generator, critic)
        train_for(run.state, run.rules, 3)
        assert int(run.state.failed_step) == -1, f"{generator} against {critic}"
