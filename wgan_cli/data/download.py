"""Puts all files of a public dataset into its folder, or none."""

import contextlib
import hashlib
import http.client
import io
import os
import socket
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from wgan_cli.data import cache
from wgan_cli.errors import InputError

TIMEOUT = 5.0  # seconds to wait for a server
FAILURES = (OSError, RuntimeError, http.client.HTTPException)  # of networks, disks and torchvision's downloader


def choose_place(folder: Path) -> Path:
    """Return where files that are missing in a folder are put: there, or in the user's cache if it is read-only.

    Raises:
        InputError: If neither is possible.
    """
    if os.access(_find_ancestor(folder), os.W_OK):
        return folder
    try:
        digest = hashlib.sha256(os.fspath(folder.resolve()).encode()).hexdigest()[:16]
        return cache.find_folder() / f"unpacked-{digest}" / folder.name
    except RuntimeError as error:
        reason = "is read-only, and you have no home folder to unpack its files in; set XDG_CACHE_HOME"
        raise InputError(f"{folder} {reason}") from error


def _find_ancestor(folder: Path) -> Path:
    return next(place for place in [folder, *folder.parents] if place.exists())


@contextlib.contextmanager
def fill_folder(name: str, folder: Path, missing: Collection[str], advice: str) -> Iterator[Path]:
    """Yield a temporary folder to download and unpack into; on success move the missing files into place.

    It is on the same file system as ``folder``, so that moving is renaming. It is deleted afterwards.

    Args:
        name: The name of the dataset, for messages.
        folder: Where its files belong; it need not exist.
        missing: The names of the files or folders to move.
        advice: What the user can do if the download fails, for messages.

    Raises:
        InputError: If the download fails, with the reason and the advice.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".download-", dir=_find_ancestor(folder)) as temporary,
            _limit_waiting(TIMEOUT),
            contextlib.redirect_stdout(io.StringIO()),  # torchvision prints
        ):
            yield Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            for file in missing:
                (Path(temporary) / file).replace(folder / file)
    except FAILURES as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip("<>")
        raise InputError(f"{name} is missing, and the download failed ({reason}); {advice}") from error


@contextlib.contextmanager
def _limit_waiting(seconds: float) -> Iterator[None]:
    """Limit the wait for a server, because torchvision does not."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
