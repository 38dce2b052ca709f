"""The files that ``wgan-sample`` writes: their names are checked before the work, their folders are made after it."""

from pathlib import Path

from wgan_cli.errors import InputError


def check_file_name(path: Path, *suffixes: str) -> None:
    """Reject a path that does not name a file of these kinds.

    Raises:
        InputError: If its suffix is not one of ``suffixes``, or if it is a folder.
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(f"must be the name of a {' or '.join(suffixes)} file")
    if path.is_dir():
        raise InputError("is a folder; must be the name of a file")


def make_folders(*files: Path) -> str:
    """Make the folders of files that are about to be written; return a remark if a file will be replaced."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    return " (overwritten)" if any(file.exists() for file in files) else ""
