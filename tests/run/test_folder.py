import errno
import os
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tests.commands import tree
from wgan_cli.errors import InputError
from wgan_cli.run.folder import RunFolder, find_runs

CONFIG = {"seed": 3, "optimizer": {"betas": [0.0, 0.9]}, "dataset": {"root": "Bücher"}}


def start(path: Path) -> RunFolder:
    """Create the folder of a run that has saved something."""
    folder = RunFolder(path)
    with folder.create(CONFIG, []):
        folder.last_checkpoint.write_text("")
    return folder


def test_create(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "outputs" / "run")
    with folder.create(CONFIG, ["seed=3", "dataset.root=Bücher und\n\x1b[1mmehr"]):
        assert {path.name for path in folder.path.iterdir()} == {".lock", "config.yaml", "samples", "checkpoints"}
    text = folder.config.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# wgan-train seed=3 'dataset.root=Bücher und??[1mmehr'"
    assert yaml.safe_load(text) == CONFIG
    for place in (folder.last_checkpoint, folder.epoch_checkpoint(1), folder.sample("real"), folder.metrics):
        assert place.parent.is_dir()
        assert not place.exists()
    assert folder.epoch_checkpoint(12).name == "epoch_0012.safetensors"


@pytest.mark.parametrize("earlier", ["checkpoints/last.safetensors", "checkpoints/epoch_01.safetensors", "metrics.csv"])
def test_a_run_is_never_overwritten(earlier: str, tmp_path: Path) -> None:
    (tmp_path / earlier).parent.mkdir(exist_ok=True)
    (tmp_path / earlier).write_text("earlier")
    with pytest.raises(InputError, match="contains a run; continue it with"), RunFolder(tmp_path).create({}, []):
        pass
    assert (tmp_path / earlier).read_text() == "earlier"
    assert not (tmp_path / "config.yaml").exists()
    assert not (tmp_path / ".lock").exists()


def test_a_folder_in_which_nothing_was_saved_is_used_again(tmp_path: Path) -> None:
    for seed in (1, 2):
        with RunFolder(tmp_path).create({"seed": seed}, []):
            pass
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"seed": 2}


def test_only_one_process_writes_to_a_folder(tmp_path: Path) -> None:
    """The system refuses a second lock, also in the same process."""
    folder = RunFolder(tmp_path)
    with folder.create(CONFIG, []):
        folder.last_checkpoint.write_text("")
        for again in (folder.reopen(), folder.create(CONFIG, [])):
            with pytest.raises(InputError, match="another process is writing to it"), again:
                pass
    for _ in range(2):
        with folder.reopen():
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO])
def test_a_file_system_without_locks_is_used_with_a_warning(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def acquire(_: FileLock) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", acquire)
    start(tmp_path / "run")
    assert f"{tmp_path}/run is on a file system without locks" in caplog.text


def test_an_error_of_the_lock_file_is_not_taken_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(_: FileLock) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(OSError, match="No space left"):
        start(tmp_path / "run")


def test_half_written_files_of_a_killed_process_are_deleted(tmp_path: Path) -> None:
    folder = start(tmp_path)
    (tmp_path / "mine").mkdir()
    folder.film.parent.mkdir(exist_ok=True)
    own = [folder.log, folder.sample("real"), folder.last_checkpoint]
    half = [path.with_name(f".{path.name}.77.partial") for path in own]
    kept = [folder.log, folder.sample("real"), tmp_path / "notes.partial", tmp_path / "mine/.a.77.partial"]

    for context in (folder.reopen(), folder.create({}, [])):
        for path in (*kept, *half):
            path.write_text("")
        with context:
            assert all(path.exists() for path in kept)
            assert not any(path.exists() for path in half)
        folder.last_checkpoint.unlink(missing_ok=True)  # otherwise it could not be created again


@pytest.mark.parametrize("place", ["samples", "checkpoints", "wgan-train.log", "metrics.csv", "timing.csv", ".lock"])
def test_nothing_is_written_through_a_link_or_to_a_pipe(place: str, tmp_path: Path) -> None:
    folder, elsewhere = start(tmp_path / "run"), tmp_path / "elsewhere"
    own = folder.path / place
    if not own.exists():
        own.write_text("")
    own.rename(elsewhere)
    own.symlink_to(elsewhere)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=f"{place} is a link, which no run creates"), folder.reopen():
        pass
    assert tree(tmp_path) == before
    if place == "checkpoints":
        return  # without them it is not the folder of a run
    own.unlink()
    os.mkfifo(own)  # reading from it would never end
    with pytest.raises(InputError, match=f"{place} is not a (file|folder), which no run creates"), folder.reopen():
        pass


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("b", "does not exist"),
        ("a", "is a file, not the folder of a run"),
        ("a/readme.txt", r"is not the folder of a run: it has no checkpoints/last\.safetensors"),
        ("a/multirun.yaml", r"is the folder of a sweep; to resume it, repeat its command with out=.*a resume=auto"),
        (
            "a/checkpoints/last.pt",
            r"contains checkpoints of an older version \(\*\.pt\), which this version cannot read",
        ),
    ],
)
def test_folders_that_cannot_be_reopened(file: str, message: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("")
    with pytest.raises(InputError, match=message) as refused, RunFolder(tmp_path / "a").reopen():
        pass
    assert "\n" not in str(refused.value)


def test_only_the_newest_epochs_are_kept(tmp_path: Path) -> None:
    folder = start(tmp_path)
    newest_first = [folder.epoch_checkpoint(epoch) for epoch in (10001, 10000, 9999, 10, 9)]
    for path in newest_first:
        path.write_text("")
    folder.epoch_checkpoint(99999).mkdir()  # not a checkpoint
    assert folder.epoch_checkpoints() == newest_first
    assert folder.checkpoints() == [folder.last_checkpoint, *newest_first]
    folder.keep_epochs(None)
    folder.keep_epochs(7)
    assert folder.epoch_checkpoints() == newest_first
    folder.keep_epochs(2)
    assert folder.checkpoints() == [folder.last_checkpoint, *newest_first[:2]]


def test_runs_are_found_at_any_depth(tmp_path: Path) -> None:
    for place in ("a", "b/c", "b/d/e"):
        start(tmp_path / place)
    (tmp_path / "b" / "f").mkdir()
    assert {folder.path.relative_to(tmp_path).as_posix() for folder in find_runs(tmp_path)} == {"a", "b/c", "b/d/e"}
    assert [folder.path for folder in find_runs(tmp_path / "a")] == [tmp_path / "a"]
    assert not list(find_runs(tmp_path / "nope"))
