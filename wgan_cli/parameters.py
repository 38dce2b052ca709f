"""What a part takes is declared once, in its own signature; here settings are checked against it.

A part is a function or a class. Its parameters' names, annotations and defaults say which settings it has,
``Annotated[float, Range(above=0)]`` adds the allowed range, and :func:`bind` calls it with settings that were
checked one by one. The same check reads a command line and the configuration inside a checkpoint.
"""

import difflib
import inspect
import os
import re
import reprlib
import shlex
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


class SettingError(ValueError):
    """A setting that cannot be used: its key, its value, and what is allowed, in a line or two."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        super().__init__(f"{key}={_shown(value)}: {allowed}")


class UnknownSettingError(SettingError):
    """A key or a name that does not exist, with the ones that do and the nearest of them."""

    def __init__(self, key: str, known: Iterable[str], what: str = "no such setting") -> None:
        known = sorted(known)
        name = key.rpartition("=")[2] if "=" in key else key.rpartition(".")[2]
        ValueError.__init__(self, f"{key}: {what}{nearest(name, known)}; there is {', '.join(known) or 'none'}")
        self.key = key


@dataclass(frozen=True)
class Range:
    """The allowed range of a number, or of a list's length; both ends are included, but for ``above`` and ``below``."""

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


def path_of(value: str, key: str) -> Path:
    """Return the path that a setting names, with ~ for a user's home.

    Raises:
        SettingError: If there can be no such path.
    """
    if not value:
        raise SettingError(key, '""', "names nothing")
    try:
        path = Path(value).expanduser()
        path.exists()  # raises where the name is too long for any file
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingError(key, value, f"is no path ({getattr(error, 'strerror', None) or error})") from error
    return path


def typed(key: str, value: object) -> str:
    """Return a setting as it is typed into a shell: in quotes for Hydra's grammar, and for the shell, where needed."""
    text = str(value)
    if not re.fullmatch(r"[\w./-]+", text, re.ASCII):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        text = f'"{escaped}"'
    return shlex.quote(f"{key}={text}")


def printable(text: str) -> str:
    """Return a line without what would move a terminal's cursor: it may come from a file of anybody's."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean …?)`` for a name that is almost one of the known ones, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def choose(parts: Mapping[str, T], settings: Mapping[str, Any], key: str) -> T:
    """Look a part up by the ``name`` in its settings.

    Args:
        parts: The registry of one group, name to part.
        settings: The group's settings; ``name`` says which part.
        key: The group, for messages.

    Raises:
        UnknownSettingError: If there is no such part.
    """
    name = settings.get("name")
    if name is None:
        raise SettingError(
            f"{key}.name", None, f"missing; the option's file must name one of {', '.join(sorted(parts))}"
        )
    if not isinstance(name, str) or name not in parts:
        raise UnknownSettingError(f"{key}.name={_shown(name)}", parts, what=f"no such {key}")
    return parts[name]


def bind(part: Callable[..., T], settings: Mapping[str, Any], key: str = "", **given: Any) -> T:
    """Call a part with settings that were checked against its signature.

    Args:
        part: A function or class whose parameters are annotated.
        settings: Names to plain values, as YAML has them.
        key: Where the settings lie, as a prefix for messages: ``critic`` makes ``critic.width``.
        **given: Arguments that the program supplies and no setting can set.

    Returns:
        What the part returns.

    Raises:
        SettingError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    return part(**given, **checked(part, settings, key, given))


def checked(
    part: Callable[..., object], settings: Mapping[str, Any], key: str = "", given: Collection[str] = ()
) -> dict[str, Any]:
    """Return the arguments that settings make for a part, without calling it.

    Args:
        part: A function or class whose parameters are annotated.
        settings: Names to plain values. ``name``, which chose the part, is passed over unless the part takes it.
        key: Where the settings lie, as a prefix for messages.
        given: Names of parameters that the program supplies.

    Raises:
        SettingError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    signature = inspect.signature(part, eval_str=True)
    parameters = {name: parameter for name, parameter in signature.parameters.items() if name not in given}
    unknown = [name for name in settings if name not in parameters and name != "name"]
    if unknown:
        raise UnknownSettingError(_join(key, str(unknown[0])), parameters)
    arguments = {}
    for name, parameter in parameters.items():
        if name in settings:
            arguments[name] = check(settings[name], parameter.annotation, _join(key, name))
        elif parameter.default is parameter.empty:
            raise SettingError(_join(key, name), None, f"missing; must be {describe(parameter.annotation)}")
    return arguments


def check(value: Any, annotation: Any, key: str) -> Any:
    """Return a plain value as its annotation wants it (whole numbers become floats, lists tuples).

    Raises:
        SettingError: If it does not fit.
    """
    if is_dataclass(annotation) and isinstance(annotation, type):
        if not isinstance(value, Mapping):
            raise SettingError(key, value, "must hold settings of its own")
        return bind(annotation, value, key)
    kind, limits = _unpack(annotation)
    origin = get_origin(kind)
    if origin is tuple and isinstance(value, list | tuple) and len(value) in limits:
        inner = get_args(kind)
        inner = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(inner) == len(value):
            return tuple(check(item, of, f"{key}[{i}]") for i, (item, of) in enumerate(zip(value, inner, strict=True)))
    elif origin in (Union, types.UnionType):
        if value is None and types.NoneType in get_args(kind):
            return None
        (option,) = (option for option in get_args(kind) if option is not types.NoneType)
        try:
            return check(value, option, key)
        except SettingError as error:
            if error.key == key:  # and not that of a setting inside
                raise SettingError(key, value, f"must be {describe(annotation)}") from None
            raise
    elif kind is Any or (origin is dict and isinstance(value, Mapping)):
        return value
    elif _fits(value, kind) and (not isinstance(value, int | float) or value in limits):
        return kind(value) if kind is float else value
    raise SettingError(key, value, f"must be {describe(annotation)}")


def describe(annotation: Any) -> str:
    """Say in words what an annotation allows."""
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
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # which nan is not
    return type(value) is kind and (kind is not int or abs(value) < 2**63)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


LONGEST = 200  # letters of a value that a message shows; a path has often a hundred


class _Shown(reprlib.Repr):
    """Writes any value as it is typed on the command line, in little space and time.

    One from a crafted file may hold itself, or double sixty times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict, self.maxstring = 3, 12, 12, 12, 80

    def repr_NoneType(self, value: None, level: int) -> str:  # noqa: N802 (the type's name)
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return "true" if value else "false"

    def repr_int(self, value: int, level: int) -> str:
        return str(value) if value.bit_length() < 10_000 else f"a number of {value.bit_length():,} bits"

    def repr_str(self, value: str, level: int) -> str:
        return value if len(value) <= self.maxstring else f"{value[: self.maxstring]}..."

    def repr_tuple(self, value: tuple[Any, ...], level: int) -> str:
        return self.repr_list(list(value), level)

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        items = list(value.items())[: self.maxdict]
        shown = [f"{self.repr1(key, level - 1)}: {self.repr1(inner, level - 1)}" for key, inner in items]
        return f"{{{', '.join(shown + ['...'] * (len(value) > self.maxdict))}}}"


def _shown(value: object) -> str:
    text = os.fspath(value) if isinstance(value, str | Path) else _Shown().repr(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false|null", value, re.IGNORECASE):
        text = f'"{value}"'  # which is what is wrong with it
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
