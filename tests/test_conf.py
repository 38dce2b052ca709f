"""The YAML files: every part has an option, whose settings are exactly the parameters of the part."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import pytest
import yaml

from tests.commands import compose
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data import DATASETS
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import check_settings
from wgan_cli.settings import CONF_DIR, DatasetUse

REGISTRIES: dict[str, Mapping[str, Callable[..., object]]] = {
    "constraint": CONSTRAINTS,
    "critic": CRITICS,
    "dataset": DATASETS,
    "generator": GENERATORS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
}
# Parameters that the program supplies.
SUPPLIED = {
    "critic": {"image_size", "channels", "sample_shape", "num_classes"},
    "generator": {"image_size", "channels", "sample_shape", "num_classes"},
    "optimizer": {"generator", "critic"},
}
# Settings of every option of a group, which are not parameters of the part.
COMMON = {"dataset": {field.name for field in fields(DatasetUse)}}
FILES = sorted(path.relative_to(CONF_DIR).with_suffix("") for path in CONF_DIR.rglob("*.yaml"))
OPTIONS = [(path.parent.name, path.name) for path in FILES if path.parent.name not in ("", "experiment")]


@functools.cache
def option(group: str, name: str) -> dict[str, Any]:
    """The settings that an option gives its group."""
    root = ["dataset.root=photos"] if name == "image_folder" else []
    return dict(compose(f"{group}={name}", *root)[group])


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_an_options_keys_are_its_parts_parameters(group: str, name: str) -> None:
    settings, supplied, common = option(group, name), SUPPLIED.get(group, set()), COMMON.get(group, set())
    part = REGISTRIES[group][settings["name"]]
    assert settings.keys() >= common
    own = {key: value for key, value in settings.items() if key not in common}
    assert own.keys() - {"name"} == set(inspect.signature(part).parameters) - supplied
    assert check_settings(part, own, group, supplied).keys() == own.keys() - {"name"}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, parts in REGISTRIES.items() for name in parts])
def test_an_option_of_a_parts_name_has_its_defaults(group: str, name: str) -> None:
    settings = option(group, name)
    assert settings["name"] == name
    parameters = inspect.signature(REGISTRIES[group][name]).parameters
    defaults = {key: each.default for key, each in parameters.items() if each.default is not each.empty}
    shown = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    assert {key: shown[key] for key in defaults.keys() & shown.keys()} == {
        key: defaults[key] for key in defaults.keys() - SUPPLIED.get(group, set())
    }


def test_the_commands_have_one_file_each() -> None:
    assert {path.name for path in FILES if not path.parent.name} == {"train", "sample"}


@pytest.mark.parametrize(
    ("words", "group"),
    [
        ("experiment=wgan_gp_mnist optimizer=rmsprop", "optimizer"),
        ("optimizer=adam experiment=wgan_gp_mnist", "optimizer"),
        ("experiment=wgan_gp_mnist generator=mlp generator.latent_dim=9", "generator"),
        ("experiment=pytorch_gan_wgan_gp constraint=clip clip_value=0.5", "constraint"),
    ],
)
def test_an_option_beside_a_recipe_wins_whole(words: str, group: str) -> None:
    (recipe,) = [word for word in words.split() if word.startswith("experiment")]
    mine, alone, whole = (compose(*some.split()) for some in (words, words.replace(recipe, ""), recipe))
    assert mine[group] == alone[group]
    others = set(mine) - {group, "clip_value", "out"}  # out contains the time
    assert {key: mine[key] for key in others} == {key: whole[key] for key in others}


def test_a_dataset_beside_a_recipe_keeps_the_recipes_size() -> None:
    chosen = compose("experiment=wgan_paper", "dataset=celeba")["dataset"]
    assert (chosen["name"], chosen["image_size"], chosen["channels"]) == ("celeba", 64, 3)
    chosen = compose("experiment=pytorch_gan_relativistic", "dataset=fashion_mnist")["dataset"]
    assert (chosen["name"], chosen["image_size"]) == ("fashion_mnist", 32)


def test_values_beside_a_recipe_win_one_by_one() -> None:
    recipe, mine = (compose("experiment=wgan_gp_mnist", *words) for words in ((), ("optimizer.eps=0.5",)))
    assert mine["optimizer"] == {**recipe["optimizer"], "eps": 0.5}


def test_the_defaults() -> None:
    usual = compose()
    chosen = [usual[group]["name"] for group in ("generator", "critic", "loss", "constraint", "optimizer", "dataset")]
    assert chosen == ["dcgan", "dcgan", "wasserstein", "clip", "rmsprop", "glyphs"]
    assert usual["n_critic"] == 1
    assert usual["clip_value"] is None


ADAM, ADAM_GP, RMSPROP = (option("optimizer", name) for name in ("adam", "adam_gp", "rmsprop"))


@pytest.mark.parametrize(
    ("words", "constraint", "optimizer"),
    [
        ("loss=wasserstein", "clip", RMSPROP),
        ("loss=wasserstein_gp", "gradient_penalty", ADAM_GP),
        ("loss=hinge", "spectral_norm", ADAM),
        *((f"loss={name}", "none", ADAM) for name in ("minimax", "least_squares", "relativistic")),
        # An option on the command line wins, in any order.
        ("loss=hinge constraint=clip", "clip", ADAM),
        ("constraint=clip loss=hinge", "clip", ADAM),
        ("constraint=none", "none", RMSPROP),
        ("optimizer=adam", "clip", ADAM),
        ("optimizer=rmsprop loss=hinge", "spectral_norm", RMSPROP),
        ("loss=wasserstein_gp optimizer=adam", "gradient_penalty", ADAM),
        ("loss=wasserstein_gp optimizer=rmsprop constraint=lipschitz_penalty", "lipschitz_penalty", RMSPROP),
        ("loss=hinge optimizer.eps=0.5", "spectral_norm", {**ADAM, "eps": 0.5}),
        ("loss=hinge optimizer=rmsprop optimizer.alpha=0.5", "spectral_norm", {**RMSPROP, "alpha": 0.5}),
    ],
)
def test_a_loss_brings_its_constraint_and_optimizer(words: str, constraint: str, optimizer: dict[str, Any]) -> None:
    config = compose(*words.split())
    assert config["constraint"] == option("constraint", constraint)
    assert config["optimizer"] == optimizer


def test_a_loss_file_sets_no_value_of_another_group() -> None:
    """It names an option, whose file has the values."""
    for path in (CONF_DIR / "loss").glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        part = LOSSES[content["name"]]
        assert content.keys() - {"defaults", "name"} <= set(inspect.signature(part).parameters), path.name
