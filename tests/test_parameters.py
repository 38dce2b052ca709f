from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from torch import Tensor, nn

from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.errors import SettingError, UnknownSettingError
from wgan_cli.losses import LOSSES, Loss
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import Range, bind, check_settings, check_value, choose, describe

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
    limit: Annotated[int, Range(1)] | None = None,
    shuffle: bool = True,
    root: str = "data",
    inner: Inner | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return locals()


ACCEPTED = [
    (3, int, 3),
    (-3, int, -3),
    (2.5, float, 2.5),
    (2, float, 2.0),
    (0, Annotated[float, Range(low=0)], 0.0),
    (True, bool, True),
    (False, bool, False),
    ("", str, ""),
    ("5", str, "5"),
    ("two", Literal["one", "two"], "two"),
    (3, Literal[1, 3], 3),
    (None, Positive | None, None),
    (1, Positive | None, 1.0),
    (None, str | None, None),
    ([0, 0.9], tuple[Decay, Decay], (0.0, 0.9)),
    ((1, 2), tuple[int, int], (1, 2)),
    ([], tuple[Count, ...], ()),
    ([1, 100], tuple[Count, ...], (1, 100)),
    ([[1], []], tuple[tuple[int, ...], ...], ((1,), ())),
    ({"depth": 3}, Inner, Inner(3, 0.5)),
    ({"depth": 3, "rate": 2}, Inner, Inner(3, 2.0)),
    ({"a": [1, "b"]}, dict[str, Any], {"a": [1, "b"]}),
    ("anything", Any, "anything"),
    (1, Count, 1),
    (100, Count, 100),
    (0, Decay, 0.0),
    (0.999, Decay, 0.999),
    (2**63 - 1, int, 2**63 - 1),
]


def short(value: object) -> str:
    return str(value)[:30]


@pytest.mark.parametrize(("value", "annotation", "expected"), ACCEPTED, ids=short)
def test_check_accepts(value: Any, annotation: Any, expected: Any) -> None:
    result = check_value(value, annotation, "key")
    assert result == expected
    assert type(result) is type(expected)


def test_whole_numbers_become_floats_inside_tuples() -> None:
    betas = check_value([0, 0.9], tuple[Decay, Decay], "betas")
    assert [type(beta) for beta in betas] == [float, float]  # YAML's [0, 0.9] crashes Adam otherwise


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
    (None, str, "null", "text"),
    (float("nan"), float, "nan", "a number"),
    (float("inf"), float, "inf", "a number"),
    (float("-inf"), Positive, "-inf", "a number above 0"),
    (float("nan"), Positive | None, "nan", "a number above 0 or null"),
    (HUGE, float, "1000", "a number"),
    (-HUGE, Positive | None, "-1000", "a number above 0 or null"),
    (2**63, int, "9223372036854775808", "a whole number"),  # beyond int64
    (HUGE, Count, "1000", "a whole number from 1 to 100"),
    ([HUGE, 0.5], tuple[Decay, Decay], "1000", "a number of at least 0 and below 1"),
    ("three", Literal["one", "two"], "three", "one of one, two"),
    (1.0, Literal[1, 3], "1.0", "one of 1, 3"),
    (0, Count, "0", "a whole number from 1 to 100"),
    (101, Count, "101", "a whole number from 1 to 100"),
    (0, Positive, "0", "a number above 0"),
    (0.0, Positive | None, "0.0", "a number above 0 or null"),
    (1, Decay, "1", "a number of at least 0 and below 1"),
    (-0.1, Decay, "-0.1", "a number of at least 0 and below 1"),
    (11, Annotated[int, Range(high=10)], "11", "a whole number of at most 10"),
    ([0.5], tuple[Decay, Decay], "[0.5]", "a list of 2, each a number of at least 0 and below 1"),
    ([0.5, 0.5, 0.5], tuple[Decay, Decay], "[0.5, 0.5, 0.5]", "a list of 2"),
    (0.5, tuple[Decay, Decay], "0.5", "a list of 2"),
    ("12", tuple[int, ...], '"12"', "a list, each item a whole number"),
    ({"a": 1}, tuple[int, ...], "{a: 1}", "a list, each item a whole number"),
    ([1], int, "[1]", "a whole number"),
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
    assert allowed in message
    assert len(message) < 300  # a line or two, however long the value is
    assert refused.value.key.startswith("group.key")


def test_an_item_that_does_not_fit_is_named_by_its_place() -> None:
    with pytest.raises(SettingError, match=r"^widths\[1\]=0: must be a whole number from 1 to 100$"):
        check_value([5, 0], tuple[Count, ...], "widths")


def test_bind_calls_with_checked_values_and_leaves_defaults_alone() -> None:
    result = bind(part, {"name": "part", "size": 3, "betas": [0, 0.5], "widths": [1, 2], "inner": {"depth": 4}})
    assert result == {
        "size": 3,
        "rate": 1.0,
        "kind": "one",
        "betas": (0.0, 0.5),
        "widths": (1, 2),
        "limit": None,
        "shuffle": True,
        "root": "data",
        "inner": Inner(4),
        "extra": None,
    }


def test_bind_names_an_unknown_setting_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownSettingError) as refused:
        bind(part, {"size": 3, "shufle": False}, "dataset")
    message = str(refused.value)
    assert message.startswith("dataset.shufle: no such setting (did you mean shuffle?); must be one of ")
    assert message.endswith("betas, extra, inner, kind, limit, rate, root, shuffle, size, widths")
    assert refused.value.key == "dataset.shufle"
    assert isinstance(refused.value, SettingError)


def test_bind_suggests_nothing_if_nothing_is_near() -> None:
    with pytest.raises(UnknownSettingError) as refused:
        bind(part, {"size": 3, "qqqq": 1}, "dataset")
    assert "did you mean" not in str(refused.value)


def test_bind_names_a_missing_setting_and_what_it_must_be() -> None:
    with pytest.raises(SettingError, match=r"^dataset\.size=null: is missing; must be a whole number from 1 to 100$"):
        bind(part, {}, "dataset")


def test_bind_prefixes_keys_at_every_depth() -> None:
    with pytest.raises(SettingError, match=r"^depth=0: must be"):
        bind(Inner, {"depth": 0})
    with pytest.raises(SettingError, match=r"^critic\.depth=0: must be"):
        bind(Inner, {"depth": 0}, "critic")

    def outer(inner: Inner) -> Inner:
        return inner

    with pytest.raises(SettingError, match=r"^critic\.inner\.depth=0: must be a whole number from 1 to 100$"):
        bind(outer, {"inner": {"depth": 0}}, "critic")
    with pytest.raises(UnknownSettingError, match=r"^critic\.inner\.dept: .*did you mean depth"):
        bind(outer, {"inner": {"dept": 1}}, "critic")


def test_bind_of_an_optional_group_still_names_the_setting_inside() -> None:
    with pytest.raises(SettingError, match=r"^run\.inner\.depth=0: must be a whole number from 1 to 100"):
        bind(part, {"size": 3, "inner": {"depth": 0}}, "run")


def test_what_the_program_gives_cannot_be_set() -> None:
    assert bind(part, {"rate": 2}, size=7)["size"] == 7
    with pytest.raises(UnknownSettingError, match=r"^size: no such setting"):
        bind(part, {"size": 3}, size=7)


def test_name_chooses_the_part_and_reaches_it_only_where_it_is_a_parameter() -> None:
    def named(name: str) -> str:
        return name

    assert bind(named, {"name": "me"}) == "me"
    assert bind(Inner, {"name": "me", "depth": 1}) == Inner(1)


GROUPS: dict[str, tuple[Mapping[str, Callable[..., object]], dict[str, Any]]] = {
    "loss": (LOSSES, {}),
    "constraint": (CONSTRAINTS, {}),
    "optimizer": (OPTIMIZERS, {"generator": nn.Linear(1, 1), "critic": nn.Linear(1, 1)}),
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, (parts, _) in GROUPS.items() for name in parts])
def test_every_registered_part_can_be_bound_with_its_defaults(group: str, name: str) -> None:
    parts, given = GROUPS[group]
    assert bind(choose(parts, {"name": name}, group), {"name": name}, group, **given) is not None


def test_a_loss_class_without_an_init_takes_no_settings() -> None:
    """A new class, whose inherited __init__ has never been called."""

    class Fresh(Loss):
        def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
            return real_scores.mean() - fake_scores.mean()

        def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
            return real_scores.mean() + fake_scores.mean()

    assert isinstance(bind(Fresh, {"name": "fresh"}, "loss"), Fresh)


def test_a_part_without_settings_refuses_any() -> None:
    assert check_settings(LOSSES["hinge"], {"name": "hinge"}, "loss") == {}
    with pytest.raises(UnknownSettingError, match=r"^loss\.label_smoothing: no such setting$"):
        bind(LOSSES["hinge"], {"name": "hinge", "label_smoothing": 0.1}, "loss")


def test_choose_returns_the_part_or_names_the_nearest() -> None:
    parts = {"hinge": 1, "wasserstein": 2}
    assert choose(parts, {"name": "hinge", "other": 5}, "loss") == 1
    with pytest.raises(UnknownSettingError) as refused:
        choose(parts, {"name": "wasserstien"}, "loss")
    expected = "no such loss (did you mean wasserstein?); must be one of hinge, wasserstein"
    assert str(refused.value) == f"loss.name=wasserstien: {expected}"


@pytest.mark.parametrize(("settings", "shown"), [({"name": 3}, "3"), ({"name": ["gp"]}, "[gp]")])
def test_choose_refuses_a_name_that_is_not_text(settings: dict[str, Any], shown: str) -> None:
    with pytest.raises(UnknownSettingError) as refused:
        choose({"hinge": 1}, settings, "loss")
    assert str(refused.value) == f"loss.name={shown}: no such loss; must be one of hinge"


def test_choose_refuses_a_missing_name() -> None:
    with pytest.raises(SettingError, match=r"^loss\.name=null: must be one of hinge$"):
        choose({"hinge": 1}, {}, "loss")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (bool, "true or false"),
        (str, "text"),
        (Inner, "{depth: ..., rate: ...}"),
        (Literal["a", 3], "one of a, 3"),
        (Count, "a whole number from 1 to 100"),
        (Positive | None, "a number above 0 or null"),
        (tuple[int, int], "a list of 2, each a whole number"),
        (tuple[Positive, ...], "a list, each item a number above 0"),
        (Annotated[float, Range(0, below=1)], "a number of at least 0 and below 1"),
        (Annotated[float, Range(above=0, high=1)], "a number of at most 1 and above 0"),
    ],
)
def test_describe(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


@pytest.mark.parametrize(
    ("limits", "inside", "outside"),
    [
        (Range(), [-1e300, 0, HUGE], []),
        (Range(0, 1), [0, 0.5, 1], [-1e-9, 1 + 1e-9]),
        (Range(above=0, below=1), [1e-9, 0.5], [0, 1]),
        (Range(0, below=1), [0, 0.999], [1, -1]),
        (Range(low=2), [2, HUGE], [1.999]),
    ],
)
def test_range_ends(limits: Range, inside: list[float], outside: list[float]) -> None:
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


def test_check_settings_returns_the_arguments_without_calling() -> None:
    def never(size: Count, rate: Positive = 2.0) -> None:
        raise AssertionError(size, rate)

    assert check_settings(never, {"size": 3, "rate": 1}) == {"size": 3, "rate": 1.0}
    assert check_settings(never, {}, given=["size"]) == {}
    with pytest.raises(SettingError, match=r"^a\.size=null: is missing"):
        check_settings(never, {}, "a")
