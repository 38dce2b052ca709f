import re
from dataclasses import fields
from typing import Any

import pytest

from wgan_cli.cli.command_line import parse_command_line
from wgan_cli.cli.compose import compose_config, initialize_hydra, to_plain
from wgan_cli.errors import SettingError
from wgan_cli.parameters import bind
from wgan_cli.settings import CHANGEABLE, CONF_DIR, SampleSettings, Settings


def of_yaml(name: str, *words: str) -> dict[str, Any]:
    line = parse_command_line(name, words)
    with initialize_hydra(line):
        return to_plain(compose_config(line))


@pytest.mark.parametrize(
    ("name", "words", "settings"), [("train", (), Settings), ("sample", ("checkpoint=runs/a",), SampleSettings)]
)
def test_the_yaml_names_every_setting_and_no_other(name: str, words: tuple[str, ...], settings: type[Any]) -> None:
    values = of_yaml(name, *words)
    assert values.keys() == {field.name for field in fields(settings)}
    bind(settings, values)


def test_every_key_is_explained() -> None:
    """``--help`` shows the comments."""
    lines = [
        line
        for name in ("train", "sample")
        for line in (CONF_DIR / f"{name}.yaml").read_text(encoding="utf-8").partition("\nhydra:")[0].splitlines()
    ]
    values = [line for line in lines if re.match(r"\s*\w+: ", line)]
    assert len(values) > 30
    assert [line for line in values if "  # " not in line] == []


def test_what_a_resumed_run_may_change_exists() -> None:
    assert set(CHANGEABLE) <= {field.name for field in fields(Settings)}
    assert not set(CHANGEABLE) & {"seed", "dataset", "generator", "critic", "loss", "constraint", "optimizer", "ema"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "epochs=0: must be a whole number from 1 to 1000000000"),
        ("max_minutes", 0.0, "max_minutes=0.0: must be a number above 0 or null"),
        ("seed", 2**63, "seed=9223372036854775808: must be a whole number from 0 to 9223372036854775807"),
        ("ema", "yes", "ema=yes: must be true or false"),
        ("log", {"evry": 1}, "log.evry: no such setting"),
        ("log", {"every": 0}, "log.every=0"),
        ("log", {}, "log.every=null: is missing; must be a whole number from 1 to 1000000000"),
        ("n_critc", 5, "n_critc: no such setting (did you mean n_critic?)"),
        ("loss", "hinge", "loss=hinge: must be a group of settings"),
        ("clip_value", -0.1, "clip_value=-0.1: must be a number above 0 or null"),
    ],
)
def test_a_value_out_of_range(key: str, value: object, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        bind(Settings, {**of_yaml("train"), key: value})
    assert message in str(refused.value)
