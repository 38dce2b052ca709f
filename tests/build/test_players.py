from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.builders import CPU, bits, data_spec, settings, train_for
from wgan_cli.build.players import build_generator, build_players, check_players
from wgan_cli.build.run import build_run
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.errors import SettingError
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.networks.mlp import MLPGenerator
from wgan_cli.networks.players import Critic, Generator
from wgan_cli.sampling.draw import draw_grid
from wgan_cli.settings import Settings
from wgan_cli.training.streams import Streams


def build(chosen: Settings, num_classes: int | None = None, seed: int = 5) -> tuple[Generator, nn.Module]:
    constraint = CONSTRAINTS[chosen.constraint["name"]]()
    return build_players(chosen, data_spec(num_classes=num_classes), constraint, Streams(seed, CPU))


def test_the_seed_alone_decides_the_initial_weights() -> None:
    """Each network draws from its own stream: another generator leaves the critic's weights alone."""
    first = build(settings())
    torch.manual_seed(123)
    again = build(settings(n_critic=3, constraint={"name": "none"}))
    other = build(settings(), seed=6)
    for mine, same, different in zip(first, again, other, strict=True):
        assert bits(mine) == bits(same) != bits(different)
    assert bits(build(settings(generator={"name": "mlp", "hidden_sizes": [7]}))[1]) == bits(first[1])


@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_a_critic_with_batch_normalisation_under_a_gradient_penalty(constraint: str, network: str) -> None:
    chosen = settings(critic={"name": network, "normalization": "batch"}, constraint={"name": constraint})
    if CONSTRAINTS[constraint].penalizes_gradients:
        with pytest.raises(
            SettingError, match=r"critic.normalization=batch: .*; use critic.normalization=layer or none$"
        ):
            build(chosen)
        chosen = replace(chosen, critic={"name": network, "normalization": "layer"})
    build(chosen)


@pytest.mark.parametrize("key", ["batch_size", "generator_batch_size"])
def test_batch_normalisation_needs_two_samples(key: str) -> None:
    with pytest.raises(SettingError, match=f"{key}=1: must be at least 2 for a network with BatchNorm"):
        build(settings(**{key: 1}))
    build(settings(**{key: 1}, generator={"name": "mlp", "normalization": "none"}))


def test_classes_add_an_embedding_and_nothing_else() -> None:
    plain, conditional = build(settings())[0], build(settings(), num_classes=10)[0]
    assert (plain.num_classes, conditional.num_classes) == (None, 10)
    extra = conditional.state_dict().keys() - plain.state_dict().keys()
    assert {name.rpartition(".")[0] for name in extra} == {"first.embedding"}


def test_mistakes_are_found_without_memory_for_the_weights() -> None:
    """These layers would take 107 GB."""
    huge = settings(generator={"name": "mlp", "hidden_sizes": [16384] * 100})
    check_players(huge, CONSTRAINTS["clip"](), Streams(5, CPU), None)


class Own(Generator):
    """A user's network, written as the documentation says. It need not remember the number of classes."""

    def __init__(self, image_size: int, channels: int, num_classes: int | None, latent_dim: int = 3) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.network = MLPGenerator((channels, image_size, image_size), num_classes, latent_dim)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        images: Tensor = self.network(latents, classes)
        return images


def test_networks_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "own", Own)
    monkeypatch.setitem(GENERATORS, "without", lambda sample_shape: MLPGenerator(sample_shape, latent_dim=3))
    dataset = settings().dataset
    for name, conditional in (("own", True), ("own", False), ("without", False)):
        run = build_run(settings(generator={"name": name}, dataset={**dataset, "conditional": conditional}))
        train_for(run.state, run.algorithm, 3)
        assert run.state.sampler.num_classes == (10 if conditional else None)
        assert draw_grid(run.state.sampler, 0).dim() == 3
    with pytest.raises(SettingError, match=r"dataset.conditional=true: generator=without does not support classes"):
        build_run(settings(generator={"name": "without"}, dataset={**dataset, "conditional": True}))


class Rows(Generator):
    """A mistake: images as rows."""

    def __init__(self, latent_dim: int = 3) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layer = nn.Linear(latent_dim, 432)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        images: Tensor = self.layer(latents)
        return images


class Column(Critic):
    """A mistake: a column of scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(432, 1)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        scores: Tensor = self.layer(images.flatten(1))
        return scores


def test_networks_that_return_a_wrong_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "rows", Rows)
    monkeypatch.setitem(CRITICS, "column", Column)
    with pytest.raises(SettingError, match=r"generator=Rows: maps \(2, 3\) to \(2, 432\); must be \(2, 3, 12, 12\)"):
        build_run(settings(generator={"name": "rows"}))
    with pytest.raises(SettingError, match=r"critic=Column: maps \(2, 3, 12, 12\) to \(2, 1\); must be \(2,\)"):
        build_run(settings(critic={"name": "column"}))


def test_a_generator_of_points() -> None:
    generator = build_generator(settings().generator, replace(data_spec(), shape=(2,)))
    assert generator(torch.zeros(4, 3)).shape == (4, 2)
