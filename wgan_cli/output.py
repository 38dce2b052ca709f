"""Where ``wgan-sample`` writes to: looked at before the work, made when it is done, blamed when that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wgan_cli.parameters import SettingError


def require_file(out: Path, *suffixes: str) -> None:
    """Refuse what is no name for a file of such a kind.

    Raises:
        SettingError: If it is not.
    """
    if out.suffix.lower() not in suffixes:
        raise SettingError("out", out, f"must be the name of a {' or '.join(suffixes)} file")
    if out.is_dir():
        raise SettingError("out", out, "is a folder; give the name of a file")


def make_way(*files: Path) -> str:
    """Make the folders of files that are going to be written; return the words that say if any is replaced."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    return " (and replaced what was there)" if any(file.exists() for file in files) else ""


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Blame the setting ``out`` where what it names cannot be written.

    Raises:
        SettingError: In place of the system's error.
    """
    try:
        yield
    except OSError as error:
        raise SettingError("out", out, f"cannot be written ({error.strerror or error})") from error
