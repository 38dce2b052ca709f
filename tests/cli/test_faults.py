"""What the machine and other programs do to a run: nothing is lost, and the message says what to do."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from tests.builders import bits
from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, Answer, command, environment, names, refuse, results, run, tree
from tests.data.files import photographs
from tests.faults import FullDisk, LittleMemory, SignalAtOperation, SignalsAtUpdate
from wgan_cli.cli.command_line import parse_command_line
from wgan_cli.cli.compose import compose_config, find_fixed_folder, initialize_hydra
from wgan_cli.run.checkpoints import Checkpoint, read_checkpoint

pytestmark = pytest.mark.slow


def resume(folder: Path, *words: str) -> Answer:
    return run("wgan-train", "resume=run", *words, cwd=folder)


def read_last(folder: Path) -> Checkpoint:
    return read_checkpoint(folder / "run/checkpoints/last.safetensors")


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('exec "$@" 2>&-', 0),
        ('exec "$@" <&- >&- 2>&-', 0),
        ('mkdir gone; cd gone; rmdir ../gone; exec "$@"', 2),
    ],
)
def test_what_a_shell_may_do(shell: str, code: int, runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """Closed streams change nothing: no other file takes their numbers. A deleted folder is named."""
    words = [command("wgan-train"), *tiny, "out=run"]
    ended = subprocess.run(
        ["sh", "-c", shell, "sh", *words], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert ended.returncode == code, ended.stderr
    if code:
        assert ended.stderr == "wgan-train: the working folder does not exist any more; change to another one\n"
    else:
        assert results(tmp_path / "run") == results(runs["whole"])


# Disks. The runs are those of conftest.RUNS, so that their updates are known.


def test_a_full_disk_during_a_save(runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """The second epoch's checkpoint does not fit any more."""
    words = (*tiny, "epochs=3", "sample.every=3", "out=run")
    said = run("wgan-train", *words, cwd=tmp_path, code=3, fault=FullDisk(count=8, size=3000))
    message = r"wgan-train: could not save run/checkpoints/epoch_0002\.safetensors, which needs 0\.\d\d MB: File too "
    assert re.match(message, said.err)
    assert said.err.endswith("The last good checkpoint is run/checkpoints/last.safetensors.\n")
    assert len(said.err.splitlines()) <= 2
    first = read_checkpoint(runs["whole"] / "checkpoints/epoch_0001.safetensors")
    assert bits(dict(read_last(tmp_path).tensors)) == bits(dict(first.tensors))
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]
    resume(tmp_path, "epochs=2", "sample.every=1")
    assert results(tmp_path / "run") == results(runs["whole"], but={"samples/epoch_0001.png"})


def test_a_full_disk_during_a_picture(tiny: tuple[str, ...], tmp_path: Path) -> None:
    said = run("wgan-train", *tiny, "out=run", cwd=tmp_path, code=3, fault=FullDisk(count=1, size=1000))
    assert said.err.startswith("wgan-train: could not use run/samples/epoch_0001.png: File too large. ")
    assert read_last(tmp_path).position.critic_updates == 0
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]


def test_damaged_checkpoints(runs: FinishedRuns, tmp_path: Path) -> None:
    """The newest intact one is used; the epochs after it are trained again. If there is none, nothing changes."""
    shutil.copytree(runs["whole"], tmp_path / "run", copy_function=shutil.copy)
    files = [tmp_path / f"run/checkpoints/{name}.safetensors" for name in ("last", "epoch_0002", "epoch_0001")]
    for path in files[:2]:
        path.write_bytes(path.read_bytes()[:-100])
    for said in (run("wgan-sample", "checkpoint=run", cwd=tmp_path).err, resume(tmp_path).out):
        assert "run/checkpoints/last.safetensors is not a checkpoint of wgan-train, or it is damaged" in said
        assert "The newest intact checkpoint is used instead: run/checkpoints/epoch_0001.safetensors" in said
    assert results(tmp_path / "run") == results(runs["whole"])
    assert "used instead" not in resume(tmp_path).out
    for path in files:
        path.write_bytes(path.read_bytes()[:-100])
    assert "resume=run: has no intact checkpoint: run/checkpoints/last" in refuse(
        "wgan-train", "resume=run", cwd=tmp_path
    )


# Images.


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def repaint_one(folder: Path) -> None:
    """Only its corner, and only a little."""
    path = sorted(folder.glob("*.png"))[3]
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0, 0] ^= 16
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove_all, "dataset.root=photos: no such folder, relative to the folder"),
        (repaint_one, "have changed since the checkpoint: there are still 20, but their pixels"),
    ],
)
def test_images_that_have_changed(
    change: Callable[[Path], None], words: str, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    photos = photographs(tmp_path / "photos", 20)
    data = ("dataset.root=photos", "dataset.test_fraction=0", "dataset.limit=null")
    run("wgan-train", *tiny, *data, "epochs=1", "out=run", cwd=tmp_path)
    shutil.copytree(photos, tmp_path / "kept")
    change(photos)
    assert words in refuse("wgan-train", "resume=run", "epochs=2", cwd=tmp_path)
    shutil.rmtree(photos, ignore_errors=True)
    (tmp_path / "kept").rename(photos)
    resume(tmp_path, "epochs=2")
    assert read_last(tmp_path).position.critic_updates == 4


# Memory.


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and the allocator's setting are those of Linux")
def test_out_of_memory(tmp_path: Path) -> None:
    """On digits: threads that decode files would reserve memory that the limit does not see."""
    large = ("dataset.image_size=32", "batch_size=40", "generator.width=32", "critic.width=16", "epochs=9", "out=run")
    said = run("wgan-train", *TINY, *large, cwd=tmp_path, code=3, fault=LittleMemory(count=5, size=2_000_000))
    assert said.err.startswith(
        "wgan-train: out of memory; lower one of batch_size=40, generator_batch_size=40, generator.width=32, "
        "critic.width=16, dataset.image_size=32, dataset.limit=40. The last good checkpoint is run/"
    )
    assert read_last(tmp_path).position.critic_updates > 0
    resume(tmp_path, "max_steps=3")


# Other processes.


def test_two_processes_never_write_to_one_folder(runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "run")
    with FileLock(tmp_path / "run" / ".lock"):
        for words in (("resume=run", "epochs=2"), (*tiny, "out=run", "resume=auto", "seed=5")):
            assert "run: another process is writing to it" in refuse("wgan-train", *words, cwd=tmp_path)
        assert " 5 steps;" in resume(tmp_path, "epochs=2", "dry_run=true").out
    resume(tmp_path, "epochs=2")
    assert results(tmp_path / "run") == results(runs["whole"])


# How often the state is saved, and how many of the files are kept.


def test_only_the_newest_epochs_are_kept(tiny: tuple[str, ...], tmp_path: Path) -> None:
    def kept() -> set[str]:
        return {path.stem for path in (tmp_path / "run/checkpoints").iterdir()}

    run("wgan-train", *tiny, "epochs=4", "checkpoint.keep=2", "out=run", cwd=tmp_path)
    assert kept() == {"epoch_0003", "epoch_0004", "last"}
    resume(tmp_path, "checkpoint.keep=1")  # though there is nothing to do
    assert kept() == {"epoch_0004", "last"}
    resume(tmp_path, "epochs=6", "checkpoint.every=2")
    assert kept() == {"epoch_0004", "epoch_0006", "last"}
    assert read_last(tmp_path).config["checkpoint"] == {"every": 2, "every_minutes": 10, "keep": 2}


def test_only_those_are_kept_after_a_kill_at_the_end(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """Before the second epoch's checkpoint is removed, and before the last operation. Then the same command."""
    words = (*tiny, "epochs=3", "checkpoint.keep=1", "out=run", "resume=auto")
    note, whole = tmp_path / "note", tmp_path / "whole"
    whole.mkdir()
    run("wgan-train", *words, cwd=whole, fault=SignalAtOperation(whole, None, 0, note))
    done = note.read_text().splitlines()
    removed = len(done) - done[::-1].index("os.remove run/checkpoints/epoch_0002.safetensors")
    for count in (removed, len(done)):
        folder = tmp_path / str(count)
        folder.mkdir()
        run("wgan-train", *words, cwd=folder, code=-9, fault=SignalAtOperation(folder, count, signal.SIGKILL, note))
        run("wgan-train", *words, cwd=folder)
        assert names(folder) == names(whole), done[count - 1]
        assert results(folder / "run") == results(whole / "run")


def test_a_save_after_so_many_minutes(runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """So few that it is after each update: a process that is killed in the middle of an epoch loses only one."""
    fault = SignalsAtUpdate(5, (signal.SIGKILL,), tmp_path / "note")
    run("wgan-train", *tiny, "checkpoint.every_minutes=1e-9", "out=run", cwd=tmp_path, code=-9, fault=fault)
    position = read_last(tmp_path).position
    assert (position.critic_updates, position.step) == (3, 1)  # c c g c, without the second c
    assert not list((tmp_path / "run/checkpoints").glob("epoch_*"))
    resume(tmp_path)
    assert results(tmp_path / "run") == results(runs["whole"])


# resume=auto.


def test_the_same_command_resumes(runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """Among runs with other settings, and one with these that is finished, where the pattern starts."""
    again = (*tiny, "out='outputs/${now:%H-%M-%S-%f}'", "resume=auto")
    shutil.copytree(runs["other_seed"], tmp_path / "outputs" / "other")
    said = run("wgan-train", *again, "max_minutes=1e-9", cwd=tmp_path).out
    assert said.startswith("no unfinished run with these settings in outputs; starting a new one\n")
    (started,) = {path.name for path in (tmp_path / "outputs").iterdir()} - {"other", "latest"}
    assert read_checkpoint(tmp_path / "outputs" / started / "checkpoints/last.safetensors").position.critic_updates == 1
    said = run("wgan-train", *again, cwd=tmp_path).out
    assert said.startswith(f"resuming outputs/{started}, which has these settings\n")
    assert results(tmp_path / "outputs" / started) == results(runs["whole"])
    said = run("wgan-train", *again, "dry_run=true", cwd=tmp_path).out  # it is finished now
    assert said.startswith("no unfinished run with these settings in outputs; starting a new one\n")
    assert len(list((tmp_path / "outputs").iterdir())) == 3  # with the link


def test_in_a_fixed_folder_the_same_command_starts_resumes_and_ends(
    runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """The folder is in the home of the user, and has a name that must be quoted. So is the command that is printed."""
    again = (*tiny, """out='~/loss=x, it"s'""", "resume=auto")
    folder = tmp_path / 'loss=x, it"s'  # the folder of a test is also the home
    said = run("wgan-train", *again, "max_minutes=1e-9", cwd=tmp_path).out
    program, setting = shlex.split(said.splitlines()[-1].partition("resume with: ")[2])
    run(program, setting, "max_minutes=1e-9", cwd=tmp_path)
    assert read_checkpoint(folder / "checkpoints/last.safetensors").position.critic_updates == 2
    run("wgan-train", *again, cwd=tmp_path)
    assert results(folder) == results(runs["whole"])
    before = tree(tmp_path)
    assert run("wgan-train", *again, cwd=tmp_path).out.startswith(f"nothing to do: {folder} has these settings and is ")
    assert tree(tmp_path) == before
    assert "contains a run; continue it with" in refuse("wgan-train", *again, "seed=7", cwd=tmp_path)


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("outputs/${now:%Y-%m-%d}/${now:%f}", "outputs"),
        ("o/${now:%Y/%m/%d/%f}", "o"),  # one interpolation that makes several folders
        ("o/run-${now:%f}/mine", "o"),
        ("${now:%f}", "."),
        ("o/${hydra.job.name}/${seed}/${now:%f}", "o/wgan-train/0"),
        ("${oc.env:SCRATCH}/mine/${now:%f}", "/scratch/mine"),  # as on clusters
        ("o/mine", "o/mine"),
    ],
)
def test_where_earlier_runs_are_looked_for(pattern: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    line = parse_command_line("train", [f"out='{pattern}'"])
    with initialize_hydra(line):
        assert find_fixed_folder(compose_config(line)) == Path(folder)
