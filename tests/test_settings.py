import re
from dataclasses import fields
from typing import Any

import pytest

from tests.commands import compose
from wgan_cli.errors import SettingError
from wgan_cli.parameters import bind
from wgan_cli.settings import CHANGEABLE, CONF_DIR, SampleSettings, Settings


@pytest.mark.parametrize(
    ("name", "words", "settings"), [("train", (), Settings), ("sample", ("checkpoint=runs/a",), SampleSettings)]
)
def test_the_yaml_names_every_setting_and_no_other(name: str, words: tuple[str, ...], settings: type[Any]) -> None:
    values = compose(*words, program=name)
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
    assert {key.partition(".")[0] for key in CHANGEABLE} <= {field.name for field in fields(Settings)}
    assert not set(CHANGEABLE) & {"seed", "dataset", "generator", "critic", "loss", "constraint", "optimizer", "ema"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "epochs=0: must be a whole number from 1 to 1000000000"),
        ("max_minutes", 0.0, "max_minutes=0.0: must be a number above 0 or null"),
        ("seed", 2**63, "seed=9223372036854775808: must be a whole number from 0 to 9223372036854775807"),
        ("ema", False, "ema=false: must be {decay: ...} or null"),
        ("log", {"every": 0}, "log.every=0"),
        ("loss", "hinge", "loss=hinge: must be a group of settings"),
        ("clip_value", -0.1, "clip_value=-0.1: must be a number above 0 or null"),
    ],
)
def test_a_value_out_of_range(key: str, value: object, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        bind(Settings, {**compose(), key: value})
    assert message in str(refused.value)
