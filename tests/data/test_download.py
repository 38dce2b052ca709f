import http.client
import socket
from pathlib import Path

import pytest

from tests.data.files import tree
from wgan_cli.data.download import TIMEOUT, fill_folder
from wgan_cli.errors import InputError


@pytest.mark.parametrize("existing", [".", "data", "data/set"])
def test_only_the_missing_files_are_moved_and_the_temporary_folder_is_deleted(
    existing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, before = tmp_path / "data" / "set", socket.getdefaulttimeout()
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    with fill_folder("Set", folder, ["file", "images"], "do it") as temporary:
        assert temporary.parent == tmp_path / existing  # on the same file system
        (temporary / "images").mkdir()
        for name in ("file", "images/1", "archive"):
            (temporary / name).write_text(name)
        print("Downloading")  # as torchvision does
        assert socket.getdefaulttimeout() == TIMEOUT
    assert tree(tmp_path) == ["data", "data/set", "data/set/file", "data/set/images", "data/set/images/1"]
    assert socket.getdefaulttimeout() == before
    assert capsys.readouterr().out == ""


def fail(folder: Path, error: BaseException) -> None:
    with fill_folder("Set", folder, ["half"], "put it there") as temporary:
        (temporary / "half").write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (RuntimeError("several\nlines\n"), "lines"),
        (TimeoutError(), "TimeoutError"),
        (http.client.IncompleteRead(b"half"), "IncompleteRead(4 bytes read)"),
    ],
)
def test_a_failure_is_a_sentence_and_leaves_nothing(error: Exception, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fail(tmp_path / "data" / "set", error)
    assert str(caught.value) == f"Set is missing, and the download failed ({reason}); put it there"
    assert tree(tmp_path) == []


@pytest.mark.parametrize("error", [InputError("is damaged"), KeyboardInterrupt(), KeyError()])
def test_other_errors_pass_and_leave_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught:
        fail(tmp_path / "set", error)
    assert caught.value is error
    assert tree(tmp_path) == []


@pytest.mark.parametrize("folder", ["file", "file/set"])
def test_a_file_in_place_of_a_folder_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="Not a directory"), fill_folder("Set", tmp_path / folder, [], "do it"):
        pytest.fail("the folder is a file")
