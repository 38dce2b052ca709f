from pathlib import Path

import pytest

from wgan_cli.errors import InputError
from wgan_cli.files import atomic_write, link_latest, parse_path


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "new")]


def test_paths() -> None:
    assert parse_path("~/x") == Path.home() / "x"
    assert parse_path("a b") == Path("a b")
    for value in ("~nobody_of_that_name/x", "a" * 5000):
        with pytest.raises(InputError, match="is not a path"):
            parse_path(value)
    with pytest.raises(InputError, match="must not be empty"):
        parse_path("")


def test_the_link_to_the_newest_folder(tmp_path: Path) -> None:
    """It leads to a folder below it, replaces an earlier link, and never anything else."""
    for name in ("a/b", "c"):
        (tmp_path / name).mkdir(parents=True)
        link_latest(tmp_path / name, tmp_path)
        assert (tmp_path / "latest").readlink() == Path(name)
    link_latest(tmp_path / "a", tmp_path / "c")
    link_latest(tmp_path, tmp_path)
    assert not (tmp_path / "c/latest").exists()
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").write_text("mine")
    link_latest(tmp_path / "c", tmp_path)
    assert (tmp_path / "latest").read_text() == "mine"
