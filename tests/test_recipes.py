"""The recipes against their sources, restated in plain torch and trained on the same random numbers.

``Source`` describes the networks, loss, constraint and optimizer of a source; ``Replay`` trains as its script would.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import references
from tests.builders import updates
from tests.commands import compose
from wgan_cli.build.run import build_run
from wgan_cli.cli.command_line import list_options
from wgan_cli.parameters import bind
from wgan_cli.run.session import Run
from wgan_cli.settings import Settings
from wgan_cli.training.loop import train
from wgan_cli.training.state import TrainingState

Optimizers = partial[torch.optim.RMSprop] | partial[torch.optim.Adam]


@dataclass(frozen=True)
class Source:
    """What a source's code says."""

    networks: tuple[Callable[[], nn.Module], Callable[[], nn.Module]]  # make the generator and the critic
    parameters: tuple[int, int]  # how many each has
    dataset: tuple[str, int, int]  # its name, image size and channels
    loss: str
    constraint: str  # its name, or nothing
    optimizer: Optimizers
    n_critic: int
    length: tuple[int | None, int | None]  # epochs or steps, whichever it counts
    batch_sizes: tuple[int, int] = (64, 64)  # images in a critic's and in a generator's update
    std: float | None = None  # of the first weights N(0, std²) and BatchNorm's scales N(1, std²); None: torch's own
    own_start: bool = False  # whether the first weights are the networks' own, which tests/networks compares
    decay_steps: int | None = None  # in which the learning rate falls to 0


def rmsprop(learning_rate: float) -> Optimizers:
    return partial(torch.optim.RMSprop, lr=learning_rate, alpha=0.99, eps=1e-8, foreach=False)


def adam(learning_rate: float, beta1: float, beta2: float) -> Optimizers:
    return partial(torch.optim.Adam, lr=learning_rate, betas=(beta1, beta2), eps=1e-8, foreach=False)


def without_batch_norm(critic: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*(layer for layer in critic if not isinstance(layer, nn.BatchNorm2d)))


PYTORCH_GAN = (references.pytorch_gan_generator, references.pytorch_gan_critic)

SOURCES = {
    "wgan_mlp": Source(
        (references.labml_mlp_generator, references.labml_mlp_critic),  # our wgan_mlp has the same layers
        (1_486_352, 1_460_225), ("mnist", 28, 1), "wasserstein", "clip", rmsprop(5e-5), 5, (50, None),
    ),
    "pytorch_gan_wgan": Source(
        PYTORCH_GAN, (1_510_032, 533_505), ("mnist", 28, 1), "wasserstein", "clip", rmsprop(5e-5), 5, (200, None),
    ),
    "pytorch_gan_wgan_gp": Source(
        PYTORCH_GAN, (1_510_032, 533_505), ("mnist", 28, 1),
        "wasserstein", "gradient_penalty", adam(2e-4, 0.5, 0.999), 5, (200, None),
    ),
    "pytorch_gan_relativistic": Source(
        (references.pytorch_gan_upsample_generator, references.pytorch_gan_dropout_critic),
        (1_049_985, 98_113), ("mnist", 32, 1), "relativistic", "", adam(2e-4, 0.5, 0.999), 1, (200, None),
    ),
    "labml_wgan": Source(
        (references.labml_generator, references.labml_critic), (7_745_024, 6_832_128), ("mnist", 28, 1),
        "hinge", "", adam(2.5e-4, 0.5, 0.999), 1, (10, None), std=0.02,
    ),
    "labml_wgan_gp": Source(
        (references.labml_generator, lambda: without_batch_norm(references.labml_critic())),
        (7_745_024, 6_829_056), ("mnist", 28, 1), "hinge", "gradient_penalty", adam(2.5e-4, 0.5, 0.999), 5, (10, None),
        std=0.02,
    ),
    "wgan_paper": Source(
        (references.wgan_generator, references.wgan_critic), (3_576_704, 2_765_568), ("image_folder", 64, 3),
        "wasserstein", "clip", rmsprop(5e-5), 5, (25, None), std=0.02,
    ),
    "wgan_gp_mnist": Source(
        (references.wgan_gp_mnist_generator, lambda: references.wgan_gp_critic(1, 64)),
        (1_554_177, 1_030_145), ("mnist", 28, 1), "wasserstein", "gradient_penalty", adam(1e-4, 0.5, 0.9), 5,
        (None, 200_000), batch_sizes=(50, 50), own_start=True,
    ),
    "wgan_gp_cifar10": Source(
        (references.wgan_gp_resnet_generator, references.wgan_gp_resnet_critic),
        (1_204_483, 1_053_825), ("cifar10", 32, 3), "wasserstein", "gradient_penalty", adam(2e-4, 0.0, 0.9), 5,
        (None, 100_000), batch_sizes=(64, 128), own_start=True, decay_steps=100_000,
    ),
    "sngan_cifar10": Source(
        (lambda: references.wgan_gp_resnet_generator(256), lambda: references.wgan_gp_resnet_critic(128, "sum")),
        (4_276_739, 1_053_825), ("cifar10", 32, 3), "hinge", "spectral_norm", adam(2e-4, 0.0, 0.9), 5,
        (None, 100_000), own_start=True, decay_steps=100_000,
    ),
}  # fmt: skip


LOSSES = [(name, source.loss) for name, source in SOURCES.items()]
LOSSES.append(("pytorch_gan_relativistic", "relativistic_average"))


def recipe(name: str, *words: str) -> dict[str, Any]:
    """Compose a recipe's settings."""
    root = ["dataset.root=photos"] if name == "wgan_paper" else []
    return compose(f"experiment={name}", *root, *words)


def build(name: str, loss: str | None = None, **changed: Any) -> Run:
    """Build a recipe's run on a few digits of the right shape, with small batches."""
    _, size, channels = SOURCES[name].dataset
    digits = {"name": "glyphs", "image_size": size, "channels": channels, "limit": 64, "seed": 0}
    config = recipe(name, *([f"loss={loss}"] if loss else []))
    small = {"batch_size": 6, "generator_batch_size": 7, "n_critic": min(2, config["n_critic"]), "dataset": digits}
    return build_run(bind(Settings, {**config, **small, "device": "cpu", **changed}))


def test_every_recipe_has_its_source() -> None:
    assert set(SOURCES) == set(list_options("experiment"))


@pytest.mark.parametrize("name", SOURCES)
def test_settings_are_the_sources(name: str) -> None:
    source, config = SOURCES[name], recipe(name)
    assert tuple(config["dataset"][key] for key in ("name", "image_size", "channels")) == source.dataset
    sizes = (config["batch_size"], config["generator_batch_size"] or config["batch_size"])
    assert (sizes, config["n_critic"]) == (source.batch_sizes, source.n_critic)
    assert (config["optimizer"]["schedule"] == "linear") == (source.decay_steps is not None)
    assert source.decay_steps in (None, config["max_steps"])
    assert config["precision"] == "fp32"
    assert config["critic_warmup"] == ({"updates": 100, "steps": 25, "every": 500} if name == "wgan_paper" else None)
    assert (config["epochs"], config["max_steps"]) == source.length


@pytest.mark.parametrize("name", SOURCES)
def test_networks_and_first_weights_are_the_sources(name: str) -> None:
    """Layer by layer, weights and biases have the mean and standard deviation of the source's."""
    state, source = build(name, constraint={"name": "none"}).state, SOURCES[name]
    players = (state.generator, state.critic)
    for ours, make, count in zip(players, source.networks, source.parameters, strict=True):
        fresh = make()
        assert references.parameter_count(ours) == references.parameter_count(fresh) == count
        if source.own_start:
            continue
        with_weights = (
            [layer for layer in references.layers(each) if list(layer.parameters())] for each in (ours, fresh)
        )
        for mine, theirs in zip(*with_weights, strict=True):
            for key, parameter in mine.named_parameters():
                if parameter.numel() < 10:  # the bias at a score: too few to tell
                    continue
                normalizes = isinstance(mine, nn.BatchNorm1d | nn.BatchNorm2d)
                expected = dict(theirs.named_parameters())[key].detach()
                mean, std = expected.mean().item(), expected.std(unbiased=False).item()
                if source.std is not None:
                    mean, std = (float(normalizes), source.std) if key == "weight" else (0.0, 0.0)
                # Five standard errors of a mean and of a standard deviation, of both draws.
                error = 5 * std * (2 / parameter.numel()) ** 0.5
                assert parameter.mean().item() == pytest.approx(mean, abs=error + 1e-8), (name, key)
                assert parameter.std(unbiased=False).item() == pytest.approx(std, abs=error + 1e-8), (name, key)


# The first losses.


class Replay(references.Training):
    """Trains as the source does, with the initial weights, images and random numbers of the run."""

    def __init__(self, name: str, loss: str, run: Run) -> None:
        self.source = SOURCES[name]
        generator, critic = (make() for make in self.source.networks)
        # A normalised critic has other names for its weights, so they are taken from one without a constraint.
        plain = build(name, loss, constraint={"name": "none"}).state
        references.copy_in_order(plain.generator, generator)
        references.copy_in_order(plain.critic, critic)
        latent_dim = run.state.generator.latent_dim
        super().__init__(generator, critic, run.algorithm, latent_dim, loss, self.source.constraint)
        self.optimizers = {player: self.source.optimizer(player.parameters()) for player in (generator, critic)}

    def descend(self, network: nn.Module, objective: Tensor, step: int) -> None:
        optimizer = self.optimizers[network]
        optimizer.zero_grad()
        objective.backward(inputs=list(network.parameters()))
        left = 1 - step / self.source.decay_steps if self.source.decay_steps else 1
        optimizer.param_groups[0]["lr"] = self.source.optimizer.keywords["lr"] * left
        optimizer.step()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "loss"), LOSSES)
def test_the_first_losses_are_the_sources(name: str, loss: str) -> None:
    """Update for update, over two steps.

    The first losses differ by rounding only, and agree to six digits. The first steps of RMSprop and Adam have full
    length however small the gradient, so a weight whose gradient is nothing but rounding moves either way: that changed
    losses by up to 0.3 % of the largest. The bias of a Wasserstein critic's score is such a weight, because its
    gradient is 1 − 1. It cancels in the critic's loss and shifts the generator's by up to four steps, 0.0008.
    """
    changed: dict[str, Any] = {"max_steps": SOURCES[name].decay_steps} if SOURCES[name].decay_steps else {}
    if name == "wgan_paper":  # whose first steps have 100 critic updates each
        changed["critic_warmup"] = {"updates": 4, "steps": 1, "every": None}
    run = build(name, loss, **changed)
    replay, expected, position = Replay(name, loss, run), [], 0
    for step in range(2):
        for _ in range(run.algorithm.schedule.updates_in(step)):
            expected.append(replay.update_critic(position, step))
            position += 1
        expected.append(replay.update_generator(step))
    found: list[dict[str, float]] = []

    def look(state: TrainingState) -> None:
        found.append(state.means.read())
        state.means.reset()

    train(run.state, run.algorithm, updates(len(expected), look))
    assert found[0] == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
    for key in ("critic_loss", "penalty", "wasserstein_estimate", "generator_loss"):
        mine, theirs = ([update[key] for update in losses if key in update] for losses in (found, expected))
        tolerance = 5e-3 * max(map(abs, theirs)) + (1e-3 if key == "generator_loss" else 0)
        assert mine == pytest.approx(theirs, rel=0, abs=tolerance), key
