"""Every error that a user meets, each with its message and its exit code. Importing this does not import torch."""

import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

LONGEST_VALUE = 200  # characters of a value in a message; a path often has a hundred
NOT_TEXT = r"([-+]?[\d.]+(e[-+]?\d+)?|true|false|null)?"  # what is a number, a truth value or nothing in YAML
LONGEST_NAME, MOST_NAMES = 24, 10  # characters of a class name in a message, and names in a list of them


class InputError(ValueError):
    """Something that the user supplied cannot be used, such as a folder or a checkpoint.

    The code that raises it does not know which setting named the thing; :func:`blame` adds that.
    """

    exit_code: ClassVar[int] = 2


class UsageError(InputError):
    """Words on the command line that cannot be read."""


class SettingError(InputError):
    """A setting that cannot be used.

    Args:
        key: The setting, such as ``critic.width``.
        value: Its value.
        allowed: What is allowed, or what is wrong. It completes the sentence ``key=value: ...``.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(key, value, allowed)
        self.key = key

    def __str__(self) -> str:
        key, value, allowed = self.args
        return f"{key}={format_value(value)}: {allowed}"


class UnknownSettingError(SettingError):
    """A key or a name that does not exist.

    Args:
        key: The key, or ``key=name``.
        known: The keys or names that exist.
        what: What is wrong with it.
    """

    def __init__(self, key: str, known: Iterable[str], what: str = "no such setting") -> None:
        super().__init__(key, sorted(known), what)

    def __str__(self) -> str:
        key, known, what = self.args
        name = key.rpartition("=")[2] if "=" in key else key.rpartition(".")[2]
        return f"{key}: {what}{suggest(name, known)}; must be one of {', '.join(known)}" if known else f"{key}: {what}"


class RunFailedError(RuntimeError):
    """A run that cannot continue: what happened, where the last good checkpoint is, and what to try."""

    exit_code: ClassVar[int] = 3


@contextmanager
def blame(key: str, value: object) -> Iterator[None]:
    """Name the setting behind an :class:`InputError` or an ``OSError``.

    Raises:
        SettingError: In place of either. A ``SettingError`` is raised unchanged.
    """
    try:
        yield
    except SettingError:
        raise
    except InputError as error:
        raise SettingError(key, value, str(error)) from error
    except OSError as error:
        raise SettingError(key, value, f"cannot be used ({error.strerror or error})") from error


@contextmanager
def report_failures(takes_memory: str, last_checkpoint: Path | None = None) -> Iterator[None]:
    """Report failures of the machine in a sentence, with the last good checkpoint.

    Args:
        takes_memory: The settings to lower when memory runs out, with their values.
        last_checkpoint: Its path; None before the run has started.

    Raises:
        RunFailedError: In place of an ``OSError`` or an out-of-memory error.
    """
    try:
        yield
    except InputError:
        raise
    except (RunFailedError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RunFailedError):
            reason = str(error)
        elif isinstance(error, OSError):
            reason = describe_os_error(error)
        elif is_out_of_memory(error):
            reason = f"out of memory; lower one of {takes_memory}."
        else:
            raise
        if last_checkpoint is not None:
            exists = last_checkpoint.is_file()
            reason += f" The last good checkpoint is {last_checkpoint}." if exists else " There is no checkpoint yet."
        raise RunFailedError(reason) from error


def describe_os_error(error: OSError) -> str:
    """Say in a sentence which file failed, and how."""
    return f"could not use {error.filename or 'the disk'}: {error.strerror or error}."


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out; torch has no type for it on a CPU."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


# From CUDA, torch's CPU allocator, C++ and oneDNN.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "could not create a memory object")


def format_value(value: object, depth: int = 3) -> str:
    """Return a value as it is typed on the command line, shortened if it is long or deeply nested."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, dict | list | tuple) and not depth:
        text = "..."
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {format_value(item, depth - 1)}' for key, item in value.items())}}}"
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(format_value(item, depth - 1) for item in value)}]"
    elif isinstance(value, str) and re.fullmatch(NOT_TEXT, value, re.IGNORECASE):
        text = f'"{value}"'  # shows that it is text
    else:
        text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def as_typed(key: str, value: object) -> str:
    """Return a setting as it is typed into a shell, quoted for Hydra's grammar and for the shell where necessary."""
    return shlex.quote(f"{key}={quote_for_hydra(str(value))}")


def quote_for_hydra(text: str) -> str:
    """Return a text, in double quotes if Hydra would read something else, or if it has special characters."""
    if re.fullmatch(r"[\w./-]+", text, re.ASCII) and not re.fullmatch(NOT_TEXT, text, re.IGNORECASE):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def make_printable(text: str) -> str:
    """Replace characters that would move a terminal's cursor: the line may quote a stranger's file."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def list_names(names: Sequence[str]) -> str:
    """Return names in a form for a line of text: the first ten, each shortened if it is long, and the number of others.

    They may come from a stranger's file.
    """
    shown = [make_printable(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…") for name in names]
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(shown[:MOST_NAMES])}{more}"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean …?)`` if a name is close to one of the known ones, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
