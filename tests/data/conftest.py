import os
from pathlib import Path

import pytest

from wgan_cli.data import decode
from wgan_cli.data.cache import Pixels


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the decoded images: a new one for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "wgan-cli"


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's folder cannot be written to; the system says so, but for the tests' user, who may be root."""
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path).is_relative_to(tmp_path) and mode == os.W_OK))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that the test has decoded so far."""
    names: list[str] = []
    original = decode._decode

    def record(path: Path, channels: int, image_size: int, white_point: int) -> Pixels:
        names.append(path.name)
        return original(path, channels, image_size, white_point)

    monkeypatch.setattr(decode, "_decode", record)
    return names
