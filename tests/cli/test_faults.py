"""What the machine and other programs do to a run: nothing is lost, and the message says what to do."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from tests.builders import bits
from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, Answer, checkpoint, names, results, run, tree
from tests.data.files import photographs
from tests.faults import FullDisk, LittleMemory, SignalAtOperation, SignalsAtUpdate
from wgan_cli.run.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow
# The run of runs["whole"]: c c g c c g c | c g c c g c c g, with an epoch's end at | and at the end.
WHOLE = (*TINY, "hydra.run.dir=run")


def go_on(folder: Path, *words: str) -> Answer:
    return run("wgan-train", "resume=run", *words, cwd=folder)


# Disks.


def test_a_full_disk_while_saving(runs: FinishedRuns, tmp_path: Path) -> None:
    """The second epoch's checkpoint does not fit any more."""
    full = FullDisk(count=8, size=3000)
    said = run("wgan-train", *WHOLE, "epochs=3", "sample.every=3", cwd=tmp_path, code=3, fault=full)
    message = r"wgan-train: could not save run/checkpoints/epoch_0002\.pt, which needs 0\.\d\d MB: File too large\. "
    assert re.match(message, said.err)
    last = tmp_path / "run/checkpoints/last.pt"
    assert said.err.endswith("The last good checkpoint is run/checkpoints/last.pt.\n")
    assert len(said.err.splitlines()) <= 3
    first = runs["whole"] / "checkpoints/epoch_0001.pt"
    assert bits(checkpoint(last)["state"]) == bits(checkpoint(first)["state"])
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]
    go_on(tmp_path, "epochs=2", "sample.every=1")
    assert results(tmp_path / "run") == results(runs["whole"], but={"samples/epoch_0001.png"})


def test_a_full_disk_while_drawing(tmp_path: Path) -> None:
    said = run("wgan-train", *WHOLE, cwd=tmp_path, code=3, fault=FullDisk(count=1, size=1000))
    assert said.err.startswith("wgan-train: could not use run/samples/epoch_0001.png: File too large. ")
    assert load_checkpoint(tmp_path / "run/checkpoints/last.pt", "").state["critic_updates"] == 0
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_a_damaged_last_checkpoint(runs: FinishedRuns, tmp_path: Path) -> None:
    """And with it the epoch's, as the two are one file: the epoch is trained once more."""
    shutil.copytree(runs["whole"], tmp_path / "run", copy_function=shutil.copy)
    for name in ("last", "epoch_0002"):
        damage(tmp_path / f"run/checkpoints/{name}.pt")
    said = run("wgan-sample", "checkpoint=run", cwd=tmp_path)
    assert "run/checkpoints/last.pt is no checkpoint, or a damaged one" in said.err
    assert "run/checkpoints/epoch_0001.pt" in said.err
    said = go_on(tmp_path)
    assert "The newest intact checkpoint is used instead: run/checkpoints/epoch_0001.pt" in said.out
    assert results(tmp_path / "run") == results(runs["whole"])
    assert "used instead" not in go_on(tmp_path).out


def test_nothing_is_intact(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copytree(runs["whole"], tmp_path / "run", copy_function=shutil.copy)
    for path in (tmp_path / "run/checkpoints").iterdir():
        damage(path)
    before = tree(tmp_path)
    for name, word in (("wgan-train", "resume=run"), ("wgan-sample", "checkpoint=run")):
        said = run(name, word, cwd=tmp_path, code=2)
        assert said.err.startswith(
            f"{name}: {word}: has no intact checkpoint: run/checkpoints/last.pt is no checkpoint"
        )
        assert tree(tmp_path) == before


# Images.


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def one_more(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "another.png")


def one_repainted(folder: Path) -> None:
    """Only its corner, by a little."""
    path = sorted(folder.glob("*.png"))[3]
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)


def two_exchanged(folder: Path) -> None:
    first, second, *_ = sorted(folder.glob("*.png"))
    other = second.rename(folder / "other")
    first.rename(second)
    other.rename(first)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (removed, "dataset.root=photos: no such folder"),
        (one_more, "there were 20 to train on, and now there are 21"),
        (one_repainted, "there are 20 as before, and not the same ones"),
        (two_exchanged, "there are 20 as before, and not the same ones"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_images_that_are_no_longer_what_they_were(change: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", 20)
    folder = ("dataset=image_folder", "dataset.root=photos", "dataset.test_fraction=0", "dataset.limit=null")
    run("wgan-train", *WHOLE, *folder, "epochs=1", cwd=tmp_path)
    shutil.copytree(photos, tmp_path / "kept")
    change(photos)
    before = tree(tmp_path / "run")
    said = run("wgan-train", "resume=run", "epochs=2", cwd=tmp_path, code=2)
    assert words in said.err
    assert "results" not in said.out  # the plan's last line
    assert tree(tmp_path / "run") == before
    shutil.rmtree(photos, ignore_errors=True)
    (tmp_path / "kept").rename(photos)
    go_on(tmp_path, "epochs=2")
    assert checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]["critic_updates"] == 4


def test_a_run_that_goes_on_downloads_nothing(tmp_path: Path) -> None:
    """Its checkpoint names the folder, and a checkpoint is not trusted with that."""
    run("wgan-train", *WHOLE, cwd=tmp_path)
    for path in (tmp_path / "run/checkpoints").glob("*.pt"):
        content = checkpoint(path)
        content["config"]["dataset"] = {"name": "mnist", "root": str(tmp_path / "elsewhere"), "image_size": 8}
        torch.save(content, path)
    said = run("wgan-train", "resume=run", "epochs=3", cwd=tmp_path, code=2)
    assert f"dataset.root={tmp_path}/elsewhere: no MNIST there, and a run that goes on fetches nothing" in said.err
    assert not (tmp_path / "elsewhere").exists()


# Memory.


@pytest.mark.skipif(sys.platform != "linux", reason="the limit, and the allocator's setting, are Linux's")
def test_out_of_memory(tmp_path: Path) -> None:
    large = (*WHOLE, "dataset.image_size=64", "batch_size=40", "generator.width=32", "critic.width=16", "epochs=9")
    said = run("wgan-train", *large, cwd=tmp_path, code=3, fault=LittleMemory(count=5, size=2_000_000))
    assert said.err.startswith(
        "wgan-train: out of memory; lower one of batch_size=40, generator_batch_size=40, generator.width=32, "
        "critic.width=16, dataset.image_size=64, dataset.limit=40. The last good checkpoint is run/"
    )
    saved = load_checkpoint(tmp_path / "run/checkpoints/last.pt", "").state["critic_updates"]
    assert saved > 0
    go_on(tmp_path, "max_steps=3")


# Other processes.


def test_two_processes_never_write_in_one_folder(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "run")
    before = tree(tmp_path)
    with FileLock(tmp_path / "run" / ".lock"):
        for words in (("resume=run", "epochs=2"), (*TINY, "epochs=1", "hydra.run.dir=run", "resume=auto", "seed=5")):
            said = run("wgan-train", *words, cwd=tmp_path, code=2)
            assert "run: another process is writing in it" in said.err
            assert tree(tmp_path) == before
        assert "goes on" in run("wgan-train", "resume=run", "epochs=2", "dry_run=true", cwd=tmp_path).out
    go_on(tmp_path, "epochs=2")
    assert results(tmp_path / "run") == results(runs["whole"])


# How often, and how many.


def test_only_the_newest_epochs_are_kept(tmp_path: Path) -> None:
    run("wgan-train", *WHOLE, "epochs=4", "checkpoint.keep=2", cwd=tmp_path)
    folder = tmp_path / "run/checkpoints"
    assert {path.name for path in folder.iterdir()} == {"epoch_0003.pt", "epoch_0004.pt", "last.pt"}
    go_on(tmp_path, "checkpoint.keep=1")  # though nothing is left to do
    assert {path.name for path in folder.iterdir()} == {"epoch_0004.pt", "last.pt"}
    go_on(tmp_path, "epochs=6", "checkpoint.every=2")
    assert {path.name for path in folder.iterdir()} == {"epoch_0004.pt", "epoch_0006.pt", "last.pt"}
    assert checkpoint(folder / "last.pt")["config"]["checkpoint"] == {"every": 2, "every_minutes": 10, "keep": 2}


def test_only_those_are_kept_whenever_the_end_is_cut_short(tmp_path: Path) -> None:
    """kill -9 before each of the last operations on files, and then the same command."""
    again = (*TINY, "epochs=3", "checkpoint.keep=1", "hydra.run.dir=run", "resume=auto")
    note = tmp_path / "note"
    (tmp_path / "whole").mkdir()
    run("wgan-train", *again, cwd=tmp_path / "whole", fault=SignalAtOperation(tmp_path / "whole", None, 0, note))
    done = note.read_text().splitlines()
    removed = len(done) - done[::-1].index("os.remove run/checkpoints/epoch_0002.pt")
    for count in range(removed - 3, len(done) + 1):
        folder = tmp_path / str(count)
        folder.mkdir()
        run("wgan-train", *again, cwd=folder, code=-9, fault=SignalAtOperation(folder, count, 9, note))
        run("wgan-train", *again, cwd=folder)
        assert names(folder) == names(tmp_path / "whole"), done[count - 1]
        assert results(folder / "run") == results(tmp_path / "whole" / "run")


def test_saved_every_so_many_minutes(runs: FinishedRuns, tmp_path: Path) -> None:
    """So many that it is after each update: a process that is killed in mid-epoch loses no more than one."""
    fault = SignalsAtUpdate(5, (9,), tmp_path / "note")
    run("wgan-train", *WHOLE, "checkpoint.every_minutes=1e-9", cwd=tmp_path, code=-9, fault=fault)
    state = checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]
    assert (state["critic_updates"], state["step"]) == (3, 1)  # c c g c, and not the second c
    assert not list((tmp_path / "run/checkpoints").glob("epoch_*"))
    go_on(tmp_path)
    assert results(tmp_path / "run") == results(runs["whole"])


# resume=auto.


def test_the_same_command_goes_on(runs: FinishedRuns, tmp_path: Path) -> None:
    """Among runs of other settings, and a finished one with these, below the folder that the pattern begins with."""
    again = (*TINY, "hydra.run.dir='outputs/${now:%H-%M-%S-%f}'", "resume=auto")
    shutil.copytree(runs["other_seed"], tmp_path / "outputs" / "other")
    said = run("wgan-train", *again, "max_minutes=1e-9", cwd=tmp_path).out
    assert "there is no unfinished run with these settings in outputs" in said.splitlines()[0]
    (begun,) = {path.name for path in (tmp_path / "outputs").iterdir()} - {"other"}
    assert checkpoint(tmp_path / "outputs" / begun / "checkpoints/last.pt")["state"]["critic_updates"] == 1
    said = run("wgan-train", *again, cwd=tmp_path).out
    assert said.startswith(f"going on in outputs/{begun}, which has these settings and is not finished")
    assert results(tmp_path / "outputs" / begun) == results(runs["whole"])
    run("wgan-train", *again, "dry_run=true", cwd=tmp_path)
    assert len(list((tmp_path / "outputs").iterdir())) == 2
    run("wgan-train", *again, cwd=tmp_path)  # it is finished now: a new one
    assert len(list((tmp_path / "outputs").iterdir())) == 3


def test_in_a_folder_of_its_own_the_same_command_begins_goes_on_and_ends(runs: FinishedRuns, tmp_path: Path) -> None:
    again = (*WHOLE, "resume=auto")
    run("wgan-train", *again, "max_minutes=1e-9", cwd=tmp_path)
    run("wgan-train", *again, cwd=tmp_path)
    assert results(tmp_path / "run") == results(runs["whole"])
    before = tree(tmp_path)
    assert run("wgan-train", *again, cwd=tmp_path).out.startswith("nothing is left to do: run is finished")
    said = run("wgan-train", *again, "seed=7", cwd=tmp_path, code=2)
    assert "hydra.run.dir=run: holds a run already" in said.err
    assert tree(tmp_path) == before


def test_the_folder_that_is_printed_can_be_typed(runs: FinishedRuns, tmp_path: Path) -> None:
    """However it is named: a sweep's folders often have the job's words for names."""
    odd = """hydra.run.dir='loss=x, it"s'"""
    said = run("wgan-train", *TINY, odd, "max_minutes=1e-9", cwd=tmp_path).out
    program, word = shlex.split(said.splitlines()[-1].partition("go on with: ")[2])
    run(program, word, cwd=tmp_path)
    assert results(tmp_path / 'loss=x, it"s') == results(runs["whole"])


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("outputs/${now:%Y-%m-%d}/${now:%f}", "outputs"),
        ("o/${now:%Y/%m/%d/%f}", "o"),  # one that makes several folders
        ("o/x/${now:%f}/", "o/x"),
        ("o/run-${now:%f}/mine", "o"),
        ("${now:%f}", "."),
        ("o/${hydra.job.name}/${now:%f}", "o/wgan-train"),
        ("o/mine", "o/mine"),
    ],
)
def test_where_earlier_runs_are_looked_for(pattern: str, folder: str, tmp_path: Path) -> None:
    said = run("wgan-train", *TINY, "resume=auto", "dry_run=true", f"hydra.run.dir='{pattern}'", cwd=tmp_path).out
    assert said.startswith(f"there is no unfinished run with these settings in {folder}; this is a new one")


def test_the_folder_of_runs_may_be_an_interpolation(runs: FinishedRuns, tmp_path: Path) -> None:
    """As on clusters. What changes with the time is what comes after it."""
    again = (*TINY, "hydra.run.dir='${oc.env:SCRATCH}/mine/${now:%f}'", "resume=auto")
    (tmp_path / "here").mkdir()
    scratch = str(tmp_path / "scratch")
    run("wgan-train", *again, "max_minutes=1e-9", cwd=tmp_path / "here", SCRATCH=scratch)
    said = run("wgan-train", *again, cwd=tmp_path / "here", SCRATCH=scratch)
    assert f"going on in {scratch}/mine/" in said.out
    (folder,) = (tmp_path / "scratch" / "mine").iterdir()
    assert results(folder) == results(runs["whole"])


def test_tables_that_lack_rows_are_not_passed_over_in_silence(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "run")
    (tmp_path / "run/metrics.csv").unlink()
    said = go_on(tmp_path, "epochs=2").out
    assert "run/metrics.csv lacks 1 earlier rows, and they are not made again" in said
    assert "timing.csv lacks" not in said


@pytest.mark.parametrize("number", [9, 15])
def test_an_interrupted_sweep_goes_on(number: int, tmp_path: Path) -> None:
    """Stopped in the second of three jobs. The first is left alone, the third begins."""
    jobs = ("-m", *TINY, "epochs=1", "seed=1,2,3")
    run("wgan-train", *jobs, "hydra.sweep.dir=whole", cwd=tmp_path)
    fault = SignalsAtUpdate(11, (number,), tmp_path / "note")  # a job has seven updates
    code = -9 if number == 9 else 128 + number
    said = run("wgan-train", *jobs, "hydra.sweep.dir=sweep", cwd=tmp_path, code=code, fault=fault)
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"multirun.yaml", "0", "1"}
    words = shlex.split(f"wgan-train {shlex.join(jobs)} hydra.sweep.dir=sweep resume=auto")
    if number == 15:
        assert shlex.split(said.out.splitlines()[-1].partition("go on with: ")[2]) == words
    done = tree(tmp_path / "sweep" / "0")
    said = run(words[0], *words[1:], cwd=tmp_path)
    assert tree(tmp_path / "sweep" / "0") == done
    assert "nothing is left to do: sweep/0 is finished" in said.out
    assert "going on in sweep/1" in said.out
    for job in "012":
        assert results(tmp_path / "sweep" / job) == results(tmp_path / "whole" / job)
        assert names(tmp_path / "sweep" / job) == names(tmp_path / "whole" / job)
    before = tree(tmp_path / "sweep")
    run(words[0], *words[1:], cwd=tmp_path)
    assert {name: before[name] for name in before if name != "multirun.yaml"} == {
        name: found for name, found in tree(tmp_path / "sweep").items() if name != "multirun.yaml"
    }
