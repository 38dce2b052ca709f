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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (RuntimeError("several\nlines\n"), "lines"),
        (TimeoutError(), "TimeoutError"),
        (http.client.IncompleteRead(b"half"), "IncompleteRead(4 bytes read)"),
        *((error, None) for error in (InputError("is damaged"), KeyboardInterrupt(), KeyError())),
    ],
)
def test_a_failure_leaves_nothing_and_is_a_sentence_or_passes(
    error: BaseException, reason: str | None, tmp_path: Path
) -> None:
    def fail() -> None:
        with fill_folder("Set", tmp_path / "data" / "set", ["half"], "put it there") as temporary:
            (temporary / "half").write_text("half")
            raise error

    with pytest.raises(InputError if reason else type(error)) as caught:
        fail()
    if reason:
        assert str(caught.value) == f"Set is missing, and the download failed ({reason}); put it there"
    else:
        assert caught.value is error
    assert tree(tmp_path) == []


@pytest.mark.parametrize("folder", ["file", "file/set"])
def test_a_file_in_place_of_a_folder_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="Not a directory"), fill_folder("Set", tmp_path / folder, [], "do it"):
        pytest.fail("the folder is a file")
