from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from torch import Tensor

from wgan_cli.errors import SettingError, UnknownSettingError
from wgan_cli.losses import LOSSES, Loss
from wgan_cli.parameters import Range, bind, check_settings, check_value, choose

HUGE = 10**400  # beyond float64: math.isfinite and float() raise OverflowError for it
Positive = Annotated[float, Range(above=0)]
Count = Annotated[int, Range(1, 100)]
Decay = Annotated[float, Range(0, below=1)]


@dataclass(frozen=True)
class Inner:
    depth: Count
    rate: Positive = 0.5


def part(
    size: Count,
    rate: Positive = 1.0,
    kind: Literal["one", "two"] = "one",
    betas: tuple[Decay, Decay] = (0.5, 0.9),
    widths: tuple[Count, ...] = (),
    shuffle: bool = True,
    inner: Inner | None = None,
) -> dict[str, Any]:
    return locals()


ACCEPTED = [
    (-3, int, -3),
    (2**63 - 1, int, 2**63 - 1),
    (2.5, float, 2.5),
    (True, bool, True),
    ("5", str, "5"),
    ("two", Literal["one", "two"], "two"),
    (3, Literal[1, 3], 3),
    (None, Positive | None, None),
    (1, Positive | None, 1.0),
    (1e-9, Positive, 1e-9),
    ([0, 0.9], tuple[Decay, Decay], (0.0, 0.9)),  # YAML's [0, 0.9] crashes Adam otherwise
    ((1, 2), tuple[int, int], (1, 2)),
    ([], tuple[Count, ...], ()),
    (3, tuple[Count, ...] | None, (3,)),
    ("a", tuple[int | str, ...], ("a",)),
    ([1, "a"], tuple[int | str, ...], (1, "a")),
    ([[1], []], tuple[tuple[int, ...], ...], ((1,), ())),
    ({"depth": 3, "rate": 2}, Inner, Inner(3, 2.0)),
    ({"a": [1, "b"]}, dict[str, Any], {"a": [1, "b"]}),
    ("anything", Any, "anything"),
    (1, Count, 1),
    (100, Count, 100),
    (0.999, Decay, 0.999),
]


def short(value: object) -> str:
    return str(value)[:30]


@pytest.mark.parametrize(("value", "annotation", "expected"), ACCEPTED, ids=short)
def test_check_accepts(value: Any, annotation: Any, expected: Any) -> None:
    result = check_value(value, annotation, "key")
    assert result == expected
    assert repr(result) == repr(expected)  # of the same types, inside tuples as well


DECAY = "a number of at least 0 and below 1"
REFUSED = [
    # value, annotation, the value as shown, what is allowed
    (True, int, "true", "a whole number"),
    (True, float, "true", "a number"),
    (False, Literal[0, 1], "false", "one of 0, 1"),
    (1, bool, "1", "true or false"),
    ("true", bool, '"true"', "true or false"),
    (2.0, int, "2.0", "a whole number"),
    ("2", int, '"2"', "a whole number"),
    ("2.5", float, '"2.5"', "a number"),
    (None, int, "null", "a whole number"),
    (5, str, "5", "text"),
    (float("nan"), float, "nan", "a number"),
    (float("inf"), float, "inf", "a number"),
    (float("-inf"), Positive, "-inf", "a number above 0"),
    (HUGE, float, "1000", "a number"),
    (-HUGE, float, "-1000", "a number"),
    (2**63, int, "9223372036854775808", "a whole number"),  # beyond int64
    ([HUGE, 0.5], tuple[Decay, Decay], "1000", DECAY),
    ("three", Literal["one", "two"], "three", "one of one, two"),
    (0, Count, "0", "a whole number from 1 to 100"),
    (101, Count, "101", "a whole number from 1 to 100"),
    (0.0, Positive | None, "0.0", "a number above 0 or null"),
    (1, Decay, "1", DECAY),
    (-1e-9, Decay, "-1e-09", DECAY),
    (11, Annotated[int, Range(high=10)], "11", "a whole number of at most 10"),
    (2, Annotated[float, Range(above=0, high=1)], "2", "a number of at most 1 and above 0"),
    ([0.5], tuple[Decay, Decay], "[0.5]", f"a list of 2, each {DECAY}"),
    ([0.5, 0.5, 0.5], tuple[Decay, Decay], "[0.5, 0.5, 0.5]", f"a list of 2, each {DECAY}"),
    (0.5, tuple[Decay, Decay], "0.5", f"a list of 2, each {DECAY}"),
    ("12", tuple[int, ...], '"12"', "a list, each item a whole number"),
    (101, tuple[Count, ...], "101", "a list, each item a whole number from 1 to 100"),
    ({"a": 1}, tuple[int, ...], "{a: 1}", "a list, each item a whole number"),
    ([1], dict[str, Any], "[1]", "a group of settings"),
    (3, Inner, "3", "{depth: ..., rate: ...}"),
    ("x", Inner | None, "x", "{depth: ..., rate: ...} or null"),
]


@pytest.mark.parametrize(("value", "annotation", "shown", "allowed"), REFUSED, ids=short)
def test_check_refuses_with_key_value_and_what_is_allowed(
    value: Any, annotation: Any, shown: str, allowed: str
) -> None:
    with pytest.raises(SettingError) as refused:
        check_value(value, annotation, "group.key")
    message = str(refused.value)
    assert message.startswith("group.key")
    assert f"={shown}" in message
    assert message.endswith(f": must be {allowed}")
    assert len(message) < 300  # a line or two, however long the value is


def test_bind_calls_with_checked_values_and_leaves_defaults_alone() -> None:
    result = bind(part, {"name": "part", "size": 3, "betas": [0, 0.5], "widths": [1, 2], "inner": {"depth": 4}})
    given = {"size": 3, "betas": (0.0, 0.5), "widths": (1, 2), "inner": Inner(4)}
    assert result == {"rate": 1.0, "kind": "one", "shuffle": True, **given}


KNOWN = "must be one of betas, inner, kind, rate, shuffle, size, widths"


@pytest.mark.parametrize(
    ("called", "settings", "key", "message"),
    [
        (
            part,
            {"size": 3, "shufle": False},
            "dataset",
            f"dataset.shufle: no such setting (did you mean shuffle?); {KNOWN}",
        ),
        (part, {"size": 3, "qqqq": 1}, "dataset", f"dataset.qqqq: no such setting; {KNOWN}"),
        (LOSSES["hinge"], {"name": "hinge", "smooth": 0.1}, "loss", "loss.smooth: no such setting"),
        (part, {}, "dataset", "dataset.size=null: is missing; must be a whole number from 1 to 100"),
        (Inner, {"depth": 0}, "", "depth=0: must be a whole number from 1 to 100"),
        (Inner, {"depth": 0}, "critic", "critic.depth=0: must be a whole number from 1 to 100"),
        (part, {"size": 3, "widths": [5, 0]}, "", "widths[1]=0: must be a whole number from 1 to 100"),
        (part, {"size": 3, "inner": {"depth": 0}}, "a", "a.inner.depth=0: must be a whole number from 1 to 100"),
        (
            part,
            {"size": 3, "inner": {"dept": 1}},
            "a",
            "a.inner.dept: no such setting (did you mean depth?); must be one of depth, rate",
        ),
    ],
)
def test_bind_names_the_setting_at_any_depth(
    called: Callable[..., object], settings: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(SettingError) as refused:
        bind(called, settings, key)
    assert str(refused.value) == message
    assert isinstance(refused.value, UnknownSettingError) == ("no such setting" in message)
    assert message.startswith((f"{refused.value.key}=", f"{refused.value.key}:"))


def test_what_the_program_gives_cannot_be_set() -> None:
    assert bind(part, {"rate": 2}, size=7)["size"] == 7
    with pytest.raises(UnknownSettingError, match=r"^size: no such setting"):
        bind(part, {"size": 3}, size=7)


def test_a_parameter_without_an_annotation_is_named() -> None:
    def careless(depth: int, rate=0.5) -> object:  # type: ignore[no-untyped-def]
        return depth * rate

    message = r"critic.rate=0.1: the parameter rate of .*careless must be annotated, as rate: float"
    with pytest.raises(SettingError, match=message):
        bind(careless, {"depth": 3, "rate": 0.1}, "critic")


def test_name_chooses_the_part_and_reaches_it_only_where_it_is_a_parameter() -> None:
    def named(name: str) -> str:
        return name

    assert bind(named, {"name": "me"}) == "me"
    assert bind(Inner, {"name": "me", "depth": 1}) == Inner(1)


def test_a_loss_class_without_an_init_takes_no_settings() -> None:
    """A new class, whose inherited __init__ has never been called."""

    class Fresh(Loss):
        def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
            return real_scores.mean() - fake_scores.mean()

        def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
            return real_scores.mean() + fake_scores.mean()

    assert isinstance(bind(Fresh, {"name": "fresh"}, "loss"), Fresh)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "hinje"}, "=hinje: no such loss (did you mean hinge?); must be one of hinge, wasserstein"),
        ({"name": 3}, "=3: no such loss; must be one of hinge, wasserstein"),
        ({"name": ["gp"]}, "=[gp]: no such loss; must be one of hinge, wasserstein"),
        ({}, "=null: must be one of hinge, wasserstein"),
    ],
)
def test_choose_returns_the_part_or_names_all(settings: dict[str, Any], message: str) -> None:
    parts = {"wasserstein": 1, "hinge": 2}
    assert choose(parts, {"name": "hinge", "other": 5}, "loss") == 2
    with pytest.raises(SettingError) as refused:
        choose(parts, settings, "loss")
    assert str(refused.value) == f"loss.name{message}"
    assert isinstance(refused.value, UnknownSettingError) == ("no such" in message)


def test_check_settings_returns_the_arguments_without_calling() -> None:
    def never(size: Count, rate: Positive = 2.0) -> None:
        raise AssertionError(size, rate)

    assert check_settings(never, {"size": 3, "rate": 1}) == {"size": 3, "rate": 1.0}
    assert check_settings(never, {}, given=["size"]) == {}
