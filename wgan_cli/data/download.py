"""How the files of a public dataset come into its folder: all of them or none, whatever goes wrong on the way."""

import contextlib
import http.client
import io
import socket
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from wgan_cli.parameters import SettingError

TIMEOUT = 5.0  # seconds without an answer from a server
# What networks, disks, torchvision's downloader and archives raise.
FAILURES = (
    OSError,
    EOFError,
    RuntimeError,
    zlib.error,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


_folder_is_trusted: ContextVar[bool] = ContextVar("folder is trusted", default=True)


@contextlib.contextmanager
def nothing_fetched() -> Iterator[None]:
    """Refuse to fetch or unpack anything while the context lasts: a file that is not the user's named the folder."""
    token = _folder_is_trusted.set(False)
    try:
        yield
    finally:
        _folder_is_trusted.reset(token)


@contextlib.contextmanager
def obtaining(name: str, folder: Path, root: str, advice: str) -> Iterator[Path]:
    """Give a temporary folder to fetch and unpack into, from which what is whole is moved to its place.

    It lies on the way to ``folder``, so that moving is renaming, and is gone afterwards with all that is left in it.

    Args:
        name: The dataset's, for messages.
        folder: Where its files belong. It need not exist.
        root: The setting that led there, for messages.
        advice: What the user can do where a download fails, for messages.

    Yields:
        The temporary folder.

    Raises:
        SettingError: In place of whatever went wrong: with the reason and the advice, in one line.
    """
    if not _folder_is_trusted.get():
        raise SettingError("dataset.root", root, f"no {name} there, and a run that goes on fetches nothing; {advice}")
    ancestor = next(place for place in [folder, *folder.parents] if place.exists())
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".download-", dir=ancestor) as temporary,
            _socket_timeout(TIMEOUT),
            contextlib.redirect_stdout(io.StringIO()),  # torchvision prints
        ):
            yield Path(temporary)
    except FAILURES as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip("<>")
        raise SettingError(
            "dataset.root", root, f"no {name} there, and the download failed ({reason}); {advice}"
        ) from error


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Give up on servers that do not answer: torchvision sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
