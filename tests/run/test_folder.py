import os
from pathlib import Path

import pytest
import yaml

from tests.commands import tree
from wgan_cli.parameters import SettingError
from wgan_cli.run.folder import RunFolder, run_folders

CONFIG = {"seed": 3, "optimizer": {"betas": [0.0, 0.9]}, "dataset": {"root": "Bücher"}}


def test_create(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "outputs" / "run")
    with folder.begun(CONFIG, ["seed=3", "dataset.root=Bücher"]):
        assert {path.name for path in folder.path.iterdir()} == {".lock", ".hydra", "samples", "checkpoints"}
    assert yaml.safe_load((folder.path / ".hydra/config.yaml").read_text("utf-8")) == CONFIG
    assert yaml.safe_load((folder.path / ".hydra/overrides.yaml").read_text("utf-8")) == [
        "seed=3",
        "dataset.root=Bücher",
    ]
    for place in (folder.last_checkpoint, folder.epoch_checkpoint(1), folder.sample("real"), folder.metrics):
        assert place.parent.is_dir()
        assert not place.exists()
    assert folder.epoch_checkpoint(12).name == "epoch_0012.pt"


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    with RunFolder(tmp_path).begun(CONFIG, []):
        pass
    assert (tmp_path / "checkpoints").is_dir()


@pytest.mark.parametrize("there", ["checkpoints/last.pt", "checkpoints/epoch_0001.pt", "metrics.csv"])
def test_a_run_is_never_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("earlier")
    message = r"holds a run already; resume="
    with pytest.raises(SettingError, match=message) as refused, RunFolder(tmp_path).begun(CONFIG, []):
        pass
    assert refused.value.key == "hydra.run.dir"
    assert (tmp_path / there).read_text() == "earlier"
    assert not (tmp_path / ".hydra").exists()


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A file stands where a folder would have to (a permission would not stop root)."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SettingError, match="cannot be written to"),
        RunFolder(tmp_path / "file" / "run").begun(CONFIG, []),
    ):
        pass


def begun(path: Path) -> RunFolder:
    """The folder of a run that has saved something."""
    folder = RunFolder(path)
    with folder.begun(CONFIG, []):
        folder.last_checkpoint.write_text("")
    return folder


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The lock is the system's: who holds it again and again in one process is refused as another process is."""
    folder, message = RunFolder(tmp_path / "run"), "another process is writing in it"
    with folder.begun(CONFIG, []):
        folder.last_checkpoint.write_text("")
        with pytest.raises(SettingError, match=message) as refused, folder.reopened():
            pass
        assert refused.value.key == "resume"
        with pytest.raises(SettingError, match=message), folder.begun(CONFIG, []):
            pass
    for _ in range(2):
        with folder.reopened():
            pass


def test_a_folder_in_which_nothing_was_saved_is_begun_again(tmp_path: Path) -> None:
    """A process was killed just then."""
    for seed in (1, 2):
        with RunFolder(tmp_path).begun({"seed": seed}, []):
            pass
    assert yaml.safe_load((tmp_path / ".hydra/config.yaml").read_text()) == {"seed": 2}


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.last_checkpoint.unlink()
    (tmp_path / "mine").mkdir()
    kept = [folder.log, folder.sample("real"), tmp_path / "notes.partial", tmp_path / "mine/.a.77.partial"]
    half = [
        path.with_name(f".{path.name}.77.partial")
        for path in (folder.log, folder.sample("real"), folder.last_checkpoint)
    ]
    for path in (*kept, *half):
        path.write_text("")
    with folder.begun({}, []):  # there is no checkpoint yet
        assert all(path.exists() for path in kept)
        assert not any(path.exists() for path in half)
    for path in (folder.last_checkpoint, *half):
        path.write_text("")
    with folder.reopened():
        assert all(path.exists() for path in kept)
        assert not any(path.exists() for path in half)


@pytest.mark.parametrize("place", ["samples", "wgan-train.log", "metrics.csv", "timing.csv"])
def test_a_folder_that_holds_what_no_run_makes(place: str, tmp_path: Path) -> None:
    """Reading from a pipe would never end."""
    folder = begun(tmp_path)
    if place == "samples":
        (tmp_path / place).rmdir()
    os.mkfifo(tmp_path / place)
    with pytest.raises(SettingError, match=rf"resume=.*{place} is no (file|folder)"), folder.reopened():
        pass


def test_a_folder_in_the_place_of_a_checkpoint_is_none(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.epoch_checkpoint(3).mkdir()
    folder.epoch_checkpoint(2).write_text("")
    assert folder.checkpoints() == [folder.last_checkpoint, folder.epoch_checkpoint(2)]
    folder.keep_epochs(1)
    assert folder.epoch_checkpoint(2).exists()


@pytest.mark.parametrize("place", ["samples", "checkpoints", "wgan-train.log"])
def test_nothing_is_written_through_a_link(place: str, tmp_path: Path) -> None:
    folder, elsewhere = begun(tmp_path / "run"), tmp_path / "elsewhere"
    if (folder.path / place).exists():
        (folder.path / place).rename(elsewhere)
    else:
        elsewhere.write_text("")
    (folder.path / place).symlink_to(elsewhere)
    before = tree(tmp_path)
    with pytest.raises(SettingError, match=rf"resume=.*{place} is a link"), folder.reopened():
        pass
    assert tree(tmp_path) == before


def test_what_cannot_be_reopened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").write_text("")
    for name, message in {
        "file": "is a file; give the folder of a run",
        "nope": "does not exist",
        "empty": r"is no run's folder: there is no checkpoints/last\.pt",
        "sweep": r"is a sweep's folder; .*hydra\.sweep\.dir=.*sweep resume=auto",
    }.items():
        with pytest.raises(SettingError, match=message), RunFolder(tmp_path / name).reopened():
            pass


def test_the_newest_epochs_are_kept(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    epochs = [9, 10, 9999, 10000, 10001]
    for path in (folder.last_checkpoint, *map(folder.epoch_checkpoint, epochs)):
        path.write_text("")
    assert folder.epoch_checkpoints() == [folder.epoch_checkpoint(epoch) for epoch in reversed(epochs)]
    folder.keep_epochs(None)
    assert len(folder.epoch_checkpoints()) == 5
    folder.keep_epochs(2)
    assert folder.epoch_checkpoints() == [folder.epoch_checkpoint(10001), folder.epoch_checkpoint(10000)]
    assert folder.last_checkpoint.exists()


def test_folders_of_runs_are_found_at_any_depth(tmp_path: Path) -> None:
    for place in ("a", "b/c", "b/d/e"):
        with RunFolder(tmp_path / place).begun(CONFIG, []):
            pass
    (tmp_path / "b" / "f").mkdir()
    found = {folder.path.relative_to(tmp_path).as_posix() for folder in run_folders(tmp_path)}
    assert found == {"a", "b/c", "b/d/e"}
    assert [folder.path for folder in run_folders(tmp_path / "a")] == [tmp_path / "a"]
    assert not list(run_folders(tmp_path / "nope"))
