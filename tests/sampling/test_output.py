from pathlib import Path

import pytest

from wgan_cli.errors import InputError
from wgan_cli.sampling.output import check_file_name, make_folders


def test_names_of_files(tmp_path: Path) -> None:
    for name in ("a.png", "a.b.PNG", "a.gif", "new/a.png"):
        check_file_name(tmp_path / name, ".png", ".gif")
    (tmp_path / "a.png").mkdir()
    for name in ("a.jpg", "a", ".png", "a.png"):
        expected = "is a folder" if name == "a.png" else r"must be the name of a \.png or \.gif file"
        with pytest.raises(InputError, match=expected):
            check_file_name(tmp_path / name, ".png", ".gif")


def test_folders_are_made_and_replacing_is_announced(tmp_path: Path) -> None:
    first, second = tmp_path / "deep/er/a", tmp_path / "b"
    assert make_folders(first, second) == ""
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "er"}
    second.touch()
    assert "overwritten" in make_folders(first, second)
