import pickle
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from wgan_cli.errors import (
    InputError,
    RunFailedError,
    SettingError,
    UnknownSettingError,
    as_typed,
    blame,
    format_value,
    make_printable,
    report_failures,
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SettingError("critic.width", 0, "must be above 0"), "critic.width=0: must be above 0"),
        (
            UnknownSettingError("a.widht", ["width"]),
            "a.widht: no such setting (did you mean width?); must be one of width",
        ),
        (InputError("is not a folder"), "is not a folder"),
        (RunFailedError("out of memory"), "out of memory"),
    ],
)
def test_an_error_survives_the_way_from_another_process(error: Exception, message: str) -> None:
    """A launcher may run a job elsewhere and pickle its error."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), message)
    assert again.exit_code == (3 if isinstance(error, RunFailedError) else 2)


def test_blame_adds_the_setting_once() -> None:
    for error in (InputError("is not a folder"), OSError(13, "Permission denied")):
        message = r"^root=photos: (is not a folder|cannot be used \(Permission denied\))$"
        with pytest.raises(SettingError, match=message), blame("root", "photos"):
            raise error
    with pytest.raises(SettingError, match=r"^batch_size=3: is odd$"), blame("root", "photos"):
        raise SettingError("batch_size", 3, "is odd")
    with pytest.raises(KeyError), blame("root", "photos"):
        raise KeyError("a bug")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "a.csv"), "could not use a.csv: No space left on device."),
        (MemoryError(), "out of memory; lower one of batch_size=64."),
        (RuntimeError("[enforce fail] can't allocate memory"), "out of memory; lower one of batch_size=64."),
        (RunFailedError("in step 3 a loss was not finite."), "in step 3 a loss was not finite."),
    ],
)
def test_failures_of_the_machine_are_reported_with_the_last_checkpoint(
    error: Exception, message: str, tmp_path: Path
) -> None:
    def fail(last: Path | None) -> str:
        with pytest.raises(RunFailedError) as failed, report_failures("batch_size=64", last):
            raise error
        return str(failed.value)

    last = tmp_path / "last"
    assert fail(None) == message
    assert fail(last) == f"{message} There is no checkpoint yet."
    last.touch()
    assert fail(last) == f"{message} The last good checkpoint is {last}."


@pytest.mark.parametrize("error", [InputError("a mistake"), RuntimeError("a bug"), ValueError("a bug")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as passed, report_failures("batch_size=64"):
        raise error
    assert passed.value is error


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ("digits", "digits"),
        ("5", '"5"'),
        ("null", '"null"'),
        ("", '""'),
        ({"a": [1, None]}, "{a: [1, null]}"),
        ((3, "x"), "[3, x]"),
        ([[[[[1]]]]], "[[[...]]]"),
        ("x" * 300, "x" * 197 + "..."),
    ],
)
def test_values_are_written_as_on_the_command_line(value: Any, expected: str) -> None:
    assert format_value(value) == expected


def test_a_strangers_text_cannot_move_the_cursor() -> None:
    assert make_printable("a\x1b[2Jb\r") == "a?[2Jb?"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("outputs/2026-11-21/18-30-00", "resume=outputs/2026-11-21/18-30-00"),
        ("my run", """'resume="my run"'"""),
        ("n_critic=1,loss=x", """'resume="n_critic=1,loss=x"'"""),
        ("läufe", """'resume="läufe"'"""),
        ('a"b', """'resume="a\\"b"'"""),
        ("it's", """'resume="it'"'"'s"'"""),
    ],
)
def test_settings_as_they_are_typed(value: str, expected: str) -> None:
    """The shell and then Hydra take them apart again."""
    assert as_typed("resume", value) == expected
    (word,) = shlex.split(expected)
    (override,) = OverridesParser.create().parse_overrides([word])
    assert override.value() == value
