"""The YAML files: every part has an option, whose settings are exactly the parameters of the part."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import pytest
import yaml

from wgan_cli.cli.command_line import parse_command_line
from wgan_cli.cli.compose import compose_config, initialize_hydra, to_plain
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data import DATASETS
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import bind, check_settings
from wgan_cli.settings import CONF_DIR, DatasetUse, Settings

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
OPTIONS = [
    (path.parent.as_posix(), path.name) for path in FILES if path.parent.name and path.parent.name != "experiment"
]
RECIPES = [path.name for path in FILES if path.parent.name == "experiment"]


def configuration(*words: str) -> dict[str, Any]:
    """What a command line composes."""
    line = parse_command_line("train", words)
    with initialize_hydra(line):
        return to_plain(compose_config(line))


def option(group: str, name: str) -> dict[str, Any]:
    """The settings that an option gives its group."""
    root = ["dataset.root=photos"] if name == "image_folder" else []
    settings: dict[str, Any] = configuration(f"{group}={name}", *root)[group]
    return settings


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
    parameters = inspect.signature(REGISTRIES[group][name]).parameters
    defaults = {key: each.default for key, each in parameters.items() if each.default is not each.empty}
    shown = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    assert {key: shown[key] for key in defaults.keys() & shown.keys()} == {
        key: defaults[key] for key in defaults.keys() - SUPPLIED.get(group, set())
    }


@pytest.mark.parametrize("group", REGISTRIES)
def test_every_part_has_an_option_of_its_name(group: str) -> None:
    names = [name for where, name in OPTIONS if where == group]
    assert {option(group, name)["name"] for name in names} == set(REGISTRIES[group])
    assert set(REGISTRIES[group]) <= set(names)


def test_no_group_is_without_a_registry() -> None:
    assert {group for group, _ in OPTIONS} == set(REGISTRIES)
    assert {path.name for path in FILES if not path.parent.name} == {"train", "sample"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(recipe: str) -> None:
    root = ["dataset.root=photos"] if recipe == "wgan_paper" else []
    bind(Settings, configuration(f"experiment={recipe}", *root))


@pytest.mark.parametrize(
    ("words", "group", "option_words"),
    [
        ("experiment=wgan_gp_mnist optimizer=rmsprop", "optimizer", "optimizer=rmsprop"),
        ("optimizer=adam experiment=wgan_gp_mnist", "optimizer", "optimizer=adam"),
        (
            "experiment=wgan_gp_mnist generator=mlp generator.latent_dim=9",
            "generator",
            "generator=mlp generator.latent_dim=9",
        ),
        ("experiment=wgan_mlp constraint=gradient_penalty", "constraint", "constraint=gradient_penalty"),
        ("experiment=pytorch_gan_wgan_gp constraint=clip clip_value=0.5", "constraint", "constraint=clip"),
    ],
)
def test_an_option_beside_a_recipe_wins_whole(words: str, group: str, option_words: str) -> None:
    recipe = next(word for word in words.split() if word.startswith("experiment"))
    mine, alone, whole = (configuration(*some.split()) for some in (words, option_words, recipe))
    assert mine[group] == alone[group]
    others = set(mine) - {group, "clip_value", "out"}  # out contains the time
    assert {key: mine[key] for key in others} == {key: whole[key] for key in others}


def test_a_dataset_beside_a_recipe_keeps_the_recipes_size() -> None:
    chosen = configuration("experiment=wgan_paper", "dataset=celeba")["dataset"]
    assert (chosen["name"], chosen["image_size"], chosen["channels"]) == ("celeba", 64, 3)
    chosen = configuration("experiment=pytorch_gan_relativistic", "dataset=fashion_mnist")["dataset"]
    assert (chosen["name"], chosen["image_size"]) == ("fashion_mnist", 32)


def test_values_beside_a_recipe_win_one_by_one() -> None:
    recipe, mine = (configuration("experiment=wgan_gp_mnist", *words) for words in ((), ("optimizer.eps=0.5",)))
    assert mine["optimizer"] == {**recipe["optimizer"], "eps": 0.5}


def test_the_defaults() -> None:
    usual = configuration()
    chosen = {group: usual[group]["name"] for group in REGISTRIES}
    assert chosen == {
        "dataset": "glyphs",
        "generator": "dcgan",
        "critic": "dcgan",
        "loss": "wasserstein",
        "constraint": "clip",
        "optimizer": "rmsprop",
    }
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
        ("loss=hinge optimizer=rmsprop", "spectral_norm", RMSPROP),
        ("optimizer=rmsprop loss=hinge", "spectral_norm", RMSPROP),
        ("loss=wasserstein_gp optimizer=adam", "gradient_penalty", ADAM),
        ("loss=wasserstein_gp optimizer=rmsprop constraint=lipschitz_penalty", "lipschitz_penalty", RMSPROP),
        ("loss=hinge optimizer.eps=0.5", "spectral_norm", {**ADAM, "eps": 0.5}),
        ("loss=hinge optimizer=rmsprop optimizer.alpha=0.5", "spectral_norm", {**RMSPROP, "alpha": 0.5}),
    ],
)
def test_a_loss_brings_its_constraint_and_optimizer(words: str, constraint: str, optimizer: dict[str, Any]) -> None:
    config = configuration(*words.split())
    assert config["constraint"] == option("constraint", constraint)
    assert config["optimizer"] == optimizer


def test_a_loss_file_sets_no_value_of_another_group() -> None:
    """It names an option, whose file has the values."""
    for path in (CONF_DIR / "loss").glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        part = LOSSES[content["name"]]
        assert content.keys() - {"defaults", "name"} <= set(inspect.signature(part).parameters), path.name
