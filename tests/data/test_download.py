import http.client
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.data.files import tree
from wgan_cli.data.download import TIMEOUT, nothing_fetched, obtaining
from wgan_cli.parameters import SettingError


@pytest.mark.parametrize("existing", [".", "data", "data/set"])
def test_the_temporary_folder_lies_on_the_way_and_is_gone_afterwards(existing: str, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "set"
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    with obtaining("Set", folder, "data", "do it") as temporary:
        assert temporary.parent == tmp_path / existing
        (temporary / "whole").write_text("whole")
        (temporary / "left").write_text("left")
        folder.mkdir(parents=True, exist_ok=True)
        (temporary / "whole").rename(folder / "whole")
    assert tree(tmp_path) == ["data", "data/set", "data/set/whole"]


def fail(folder: Path, error: BaseException) -> None:
    with obtaining("Set", folder, "data", "put it there") as temporary:
        (temporary / "half").write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (RuntimeError("several\nlines\n"), "lines"),
        (EOFError(), "EOFError"),
        (http.client.IncompleteRead(b"half"), "IncompleteRead(4 bytes read)"),
        (tarfile.ReadError("not a gzip file"), "not a gzip file"),
        (zipfile.BadZipFile("not a zip file"), "not a zip file"),
    ],
)
def test_a_failure_is_a_sentence_and_leaves_nothing(error: Exception, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        fail(tmp_path / "data" / "set", error)
    assert str(caught.value) == f"dataset.root=data: no Set there, and the download failed ({reason}); put it there"
    assert tree(tmp_path) == []


@pytest.mark.parametrize("error", [SettingError("dataset.root", "data", "of its own"), KeyboardInterrupt(), KeyError()])
def test_what_is_no_failure_of_a_download_passes_and_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught:
        fail(tmp_path / "set", error)
    assert caught.value is error
    assert tree(tmp_path) == []


def test_servers_have_so_long_to_answer_and_what_is_printed_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = socket.getdefaulttimeout()
    with obtaining("Set", tmp_path, "data", "do it"):
        print("Downloading")
        assert socket.getdefaulttimeout() == TIMEOUT
    assert socket.getdefaulttimeout() == before
    assert capsys.readouterr().out == ""


def test_nothing_is_fetched_where_the_folder_is_not_the_users(tmp_path: Path) -> None:
    with (
        nothing_fetched(),
        pytest.raises(SettingError, match=r"^dataset\.root=data: no Set there, .* fetches nothing; do it$"),
        obtaining("Set", tmp_path / "data" / "set", "data", "do it"),
    ):
        raise AssertionError("it was let in")
    assert tree(tmp_path) == []
    with obtaining("Set", tmp_path / "set", "data", "do it"):
        pass
