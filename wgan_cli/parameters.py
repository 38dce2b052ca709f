"""The binder: settings are checked against the signature of the part that takes them.

A part is a function or a class. The names, annotations and defaults of its parameters are its settings, and
``Annotated[float, Range(above=0)]`` adds the allowed range. :func:`bind` checks settings one by one and calls the part
with them, whether they come from the command line or from a checkpoint.
"""

import inspect
import sys
import types
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from wgan_cli.errors import SettingError, UnknownSettingError, format_value

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The allowed range of a number, or of the length of a list. ``low`` and ``high`` are included."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"from {self.low} to {self.high}"
        words = {"of at least": self.low, "of at most": self.high, "above": self.above, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in words.items() if bound is not None)


def choose(parts: Mapping[str, T], settings: Mapping[str, Any], key: str) -> T:
    """Look up a part by the ``name`` in its settings.

    Args:
        parts: The registry of a group: names to parts.
        settings: The settings of the group.
        key: The group, for messages.

    Raises:
        SettingError: If there is no such part.
    """
    name = settings.get("name")
    if name is None:
        raise SettingError(f"{key}.name", None, f"must be one of {', '.join(sorted(parts))}")
    if not isinstance(name, str) or name not in parts:
        raise UnknownSettingError(f"{key}.name={format_value(name)}", parts, what=f"no such {key}")
    return parts[name]


def bind(part: Callable[..., T], settings: Mapping[str, Any], key: str = "", **given: Any) -> T:
    """Call a part with settings, after checking them against its signature.

    Args:
        part: A function or class with annotated parameters.
        settings: Names to plain values, as in YAML.
        key: Where the settings are, as a prefix for messages: ``critic`` gives ``critic.width``.
        **given: Arguments that the program supplies and no setting can change.

    Returns:
        What the part returns.

    Raises:
        SettingError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    return part(**given, **check_settings(part, settings, key, given))


def check_settings(
    part: Callable[..., object], settings: Mapping[str, Any], key: str = "", given: Collection[str] = ()
) -> dict[str, Any]:
    """Return the arguments that settings provide for a part, without calling it.

    Args:
        part: A function or class with annotated parameters.
        settings: Names to plain values. ``name``, which chose the part, is ignored unless the part takes it.
        key: Where the settings are, as a prefix for messages.
        given: Names of the parameters that the program supplies.

    Raises:
        SettingError: If a setting is unknown, missing, of the wrong type or out of range, or if a parameter has no
            annotation.
    """
    signature = inspect.signature(part, eval_str=True)
    parameters = {name: parameter for name, parameter in signature.parameters.items() if name not in given}
    unknown = [name for name in settings if name not in parameters and name != "name"]
    if unknown:
        raise UnknownSettingError(_join(key, str(unknown[0])), parameters)
    arguments = {}
    for name, parameter in parameters.items():
        if parameter.annotation is parameter.empty:
            where = f"the parameter {name} of {getattr(part, '__qualname__', part)}"
            raise SettingError(_join(key, name), settings.get(name), f"{where} must be annotated, as {name}: float")
        if name in settings:
            arguments[name] = check_value(settings[name], parameter.annotation, _join(key, name))
        elif parameter.default is parameter.empty:
            raise SettingError(_join(key, name), None, f"is missing; must be {describe(parameter.annotation)}")
    return arguments


def check_value(value: Any, annotation: Any, key: str) -> Any:
    """Convert a plain value to its annotated type: whole numbers become floats, lists and single items become tuples.

    Raises:
        SettingError: If it does not fit.
    """
    if is_dataclass(annotation) and isinstance(annotation, type):
        if not isinstance(value, Mapping):
            raise SettingError(key, value, f"must be {describe(annotation)}")
        return bind(annotation, value, key)
    kind, limits = _unpack(annotation)
    origin = get_origin(kind)
    inner = get_args(kind)
    if origin is tuple and isinstance(value, list | tuple) and len(value) in limits:
        inner = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(inner) == len(value):
            return tuple(check_value(value[i], inner[i], f"{key}[{i}]") for i in range(len(value)))
    elif origin is tuple and inner[-1] is Ellipsis and isinstance(value, int | float | str):  # one item, without []
        with suppress(SettingError):
            return (check_value(value, inner[0], key),)
    elif origin in (Union, types.UnionType):
        if value is None and types.NoneType in inner:
            return None
        for option in inner:
            try:
                return check_value(value, option, key)
            except SettingError as error:
                if error.key != key:  # it is about a setting inside
                    raise
    elif kind is Any or (origin is dict and isinstance(value, Mapping)):
        return value
    elif _fits(value, kind) and (not isinstance(value, int | float) or value in limits):
        return kind(value) if kind is float else value
    raise SettingError(key, value, f"must be {describe(annotation)}")


def describe(annotation: Any) -> str:
    """Describe in words what an annotation allows."""
    kind, limits = _unpack(annotation)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        if inner[-1] is Ellipsis:
            items = f" {limits} items" if str(limits) else ""
            return f"a list{items}, each item {describe(inner[0])}"
        return f"a list of {len(inner)}, each {describe(inner[0])}"
    if origin in (Union, types.UnionType):
        return " or ".join("null" if option is types.NoneType else describe(option) for option in inner)
    if is_dataclass(kind):
        return f"{{{', '.join(f'{field.name}: ...' for field in fields(kind))}}}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return f"{words.get(kind, 'a group of settings')} {limits}".strip()


def _unpack(annotation: Any) -> tuple[Any, Range]:
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        return kind, next((note for note in notes if isinstance(note, Range)), Range())
    return annotation, Range()


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(type(value) is type(option) and value == option for option in get_args(kind))
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # rules out NaN as well
    return type(value) is kind and (kind is not int or abs(value) < 2**63)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
