from pathlib import Path

import pytest

from wgan_cli.errors import InputError
from wgan_cli.sampling.output import check_file_name, make_folders


@pytest.mark.parametrize("name", ["a.png", "a.b.PNG", "a.gif", "new/a.png"])
def test_names_that_fit(name: str, tmp_path: Path) -> None:
    check_file_name(tmp_path / name, ".png", ".gif")


@pytest.mark.parametrize("name", ["a.jpg", "a", ".png", "a.png/"])
def test_names_that_do_not_fit(name: str, tmp_path: Path) -> None:
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    expected = "is a folder" if name.endswith("/") else r"must be the name of a \.png or \.gif file"
    with pytest.raises(InputError, match=expected):
        check_file_name(tmp_path / name, ".png", ".gif")


def test_folders_are_made_and_replacing_is_announced(tmp_path: Path) -> None:
    first, second = tmp_path / "deep/er/a", tmp_path / "b"
    assert make_folders(first, second) == ""
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "er"}
    second.touch()
    assert "overwritten" in make_folders(first, second)
