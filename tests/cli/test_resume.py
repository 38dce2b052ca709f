"""A run that was stopped and goes on is the run that was never stopped: every file, to the bit."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, answer, checkpoint, names, results, run, start, tree

pytestmark = pytest.mark.slow


def test_more_epochs(runs: FinishedRuns, tmp_path: Path) -> None:
    """In a folder that was moved, and to which a killed run had added rows after its last checkpoint."""
    moved = tmp_path / "moved run"
    shutil.copytree(runs["half"], moved)
    for table in ("metrics.csv", "timing.csv"):
        with (moved / table).open("a") as file:
            file.write("4,1,8,9.0,9.0,9.0,9.0\n6,2,12,9.0")
    said = run("wgan-train", "resume=moved run", "epochs=2", cwd=tmp_path).out
    assert "after step 2, in epoch 2" in said  # the plan
    assert results(moved) == results(runs["whole"])
    assert names(moved) == names(runs["whole"])
    assert names(tmp_path) == {f"moved run/{name}" for name in names(moved)}  # no folder of its own
    steps = [row.partition(",")[0] for row in (moved / "timing.csv").read_text().splitlines()]
    assert steps == ["step", "2", "4", "5"]
    assert "finished after step 2" in (moved / "wgan-train.log").read_text()  # the first part's log is kept


def test_after_max_minutes(runs: FinishedRuns, tmp_path: Path) -> None:
    """No time at all: the run stops after its first update, in the middle of a step and of an epoch."""
    said = run("wgan-train", *TINY, "max_minutes=1e-9", "hydra.run.dir=run", cwd=tmp_path).out
    assert "go on with: wgan-train resume=run" in said.splitlines()[-1]
    state = checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]
    assert (state["critic_updates"], state["critic_updates_in_step"], state["step"]) == (1, 1, 0)
    assert {"samples/last.png", "checkpoints/last.pt"} <= names(tmp_path / "run")
    run("wgan-train", "resume=run", "max_minutes=null", "log.every=2", "device=cpu", cwd=tmp_path)
    assert results(tmp_path / "run") == results(runs["whole"])


def test_after_signals(tmp_path: Path) -> None:
    """Ctrl-C, on again, SIGTERM, on again: against a run that had all its steps at once."""
    endless = (*(word for word in TINY if not word.startswith("epochs")), "dataset.limit=400", "epochs=100000")
    stopped, table = tmp_path / "stopped", tmp_path / "stopped" / "metrics.csv"

    def stop(process: "subprocess.Popen[str]", number: signal.Signals, rows: int) -> int:
        """Send a signal once the table has so many rows; return the step that was saved."""
        for _ in range(60_000):
            if process.poll() is not None or (table.is_file() and len(table.read_text().splitlines()) > rows):
                break
            time.sleep(0.002)
        process.send_signal(number)
        said = answer(process)
        assert said.code == 128 + number, said.err
        state = checkpoint(stopped / "checkpoints/last.pt")["state"]
        step, epoch = int(state["step"]), state["critic_updates"] // 50
        assert said.out.splitlines()[-1] == (
            f"stopped by {number.name} after step {step} and saved; go on with: wgan-train resume=stopped"
        )
        assert "Traceback" not in said.err
        assert names(stopped) & {"samples/last.png", f"samples/epoch_{epoch:04d}.png"}
        return step

    first = stop(start("wgan-train", *endless, "hydra.run.dir=stopped", cwd=tmp_path), signal.SIGINT, 1)
    rows = first // 2
    second = stop(start("wgan-train", "resume=stopped", cwd=tmp_path), signal.SIGTERM, rows + 1)
    assert second > first > 0
    run("wgan-train", "resume=stopped", f"max_steps={second + 3}", cwd=tmp_path)
    run("wgan-train", *endless, f"max_steps={second + 3}", "hydra.run.dir=straight", cwd=tmp_path)
    assert results(stopped) == results(tmp_path / "straight")
    assert names(stopped) == names(tmp_path / "straight")


def test_a_finished_run_says_so_and_is_left_alone(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "run")
    before = tree(tmp_path)
    said = run("wgan-train", "resume=run", cwd=tmp_path).out
    assert "nothing is left to do" in said.splitlines()[-1]
    assert tree(tmp_path) == before
