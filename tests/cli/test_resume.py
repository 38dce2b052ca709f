"""``resume=FOLDER``: a run that is resumed is the run that was never stopped, in every file, to the bit."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import FinishedRuns
from tests.commands import names, read_checkpoint, refuse, results, run, tree
from tests.data.files import photographs

pytestmark = pytest.mark.slow


def test_more_epochs(runs: FinishedRuns, tmp_path: Path) -> None:
    """In a folder that was moved, where a killed process had added rows after its last checkpoint."""
    moved = tmp_path / "moved run"
    shutil.copytree(runs["half"], moved)
    for table in ("metrics.csv", "timing.csv"):
        with (moved / table).open("a") as file:
            file.write("4,1,8,9.0,9.0,9.0,9.0\n6,2,12,9.0")
    said = run("wgan-train", "resume=moved run", "epochs=2", cwd=tmp_path).out
    assert "after step 2, in epoch 2" in said  # the plan
    assert results(moved) == results(runs["whole"])
    assert names(moved) == names(runs["whole"])
    assert names(tmp_path) == {f"moved run/{name}" for name in names(moved)}  # nothing anywhere else
    steps = [row.partition(",")[0] for row in (moved / "timing.csv").read_text().splitlines()]
    assert steps == ["step", "2", "4", "5"]
    assert "finished after step 2" in (moved / "wgan-train.log").read_text()  # the log of the first part is kept


def test_a_branch(runs: FinishedRuns, tmp_path: Path) -> None:
    """A checkpoint continues in a new folder, with its history; the earlier run may be read-only and trained longer."""
    whole = runs["whole"]
    before = tree(whole)
    run("wgan-train", f"resume={whole}/checkpoints/epoch_0001.safetensors", "out=branch", cwd=tmp_path)
    found, expected = results(tmp_path / "branch"), results(whole)
    assert found == {name: content for name, content in expected.items() if "checkpoints/epoch_0001" not in name}
    again = refuse("wgan-train", f"resume={whole}", "out=branch", "epochs=3", cwd=tmp_path)
    assert again == "wgan-train: out=branch: contains a run; continue it with resume=branch\n"
    run("wgan-train", f"resume={whole}", "out=longer", "epochs=3", cwd=tmp_path)
    run("wgan-train", "resume=branch", "epochs=3", cwd=tmp_path)
    assert (tmp_path / "branch/metrics.csv").read_text() == (tmp_path / "longer/metrics.csv").read_text()
    assert tree(whole) == before


def test_max_minutes(runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """With no time at all a run stops after its first update, in the middle of a step and of an epoch."""
    said = run("wgan-train", *tiny, "max_minutes=1e-9", "out=run", cwd=tmp_path).out
    assert said.splitlines()[-1] == "reached max_minutes after step 0; resume with: wgan-train resume=run"
    counts = read_checkpoint(tmp_path / "run/checkpoints/last.safetensors")[1]["counts"]
    assert (counts["critic_updates"], counts["critic_updates_in_step"], counts["step"]) == (1, 1, 0)
    assert (tmp_path / "run/samples/last.png").is_file()
    run("wgan-train", "resume=run", "log.every=2", "device=cpu", cwd=tmp_path)
    assert results(tmp_path / "run") == results(runs["whole"])


def test_a_finished_run_is_left_alone(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "run")
    before = tree(tmp_path)
    said = run("wgan-train", "resume=run", cwd=tmp_path).out
    assert said == "nothing to do: epochs=1 is reached; a larger value continues the run\n"
    assert tree(tmp_path) == before


def test_images_that_moved(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """The new folder is given, also with ``resume=auto`` in the run's own folder, which then may be trained longer."""
    photographs(tmp_path / "photos", 20)
    data = (*tiny, "dataset=image_folder", "dataset.image_size=8", "dataset.channels=1", "dataset.limit=null")
    for out in ("moved", "whole"):
        run(
            "wgan-train",
            *data,
            "dataset.root=photos",
            f"epochs={3 if out == 'whole' else 1}",
            f"out={out}",
            cwd=tmp_path,
        )
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    said = refuse("wgan-train", "resume=moved", "epochs=2", cwd=tmp_path)
    assert "dataset.root=photos: no such folder" in said
    assert said.endswith("; if the images have moved, add dataset.root=FOLDER\n")
    run("wgan-train", "resume=moved", "epochs=2", "dataset.root=elsewhere", cwd=tmp_path)
    again = (*data, "dataset.root=elsewhere", "epochs=3", "out=moved", "resume=auto")
    assert "resuming moved, which has these settings" in run("wgan-train", *again, cwd=tmp_path).out
    assert results(tmp_path / "moved") == results(tmp_path / "whole")
    assert "nothing to do: moved has these settings and is finished" in run("wgan-train", *again, cwd=tmp_path).out
