"""A run that any signal stopped anywhere, and that was resumed, is the run that was never stopped: to the bit."""

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import bits
from tests.commands import answer, environment, names, results, run, start
from tests.faults import SignalAtOperation, SignalsAtUpdate, SignalWhileComposing, TornSave
from wgan_cli.run.checkpoints import find_checkpoint

pytestmark = pytest.mark.slow

# Critic updates c, generator updates g and ends of epochs |, each of which has five critic updates:
#   c c c g c c | c g c c c g c | c c g c c c g |
# The last epoch ends with the step that its last critic update makes due: after 20 updates of either player.
SHORT = ("n_critic=3", "epochs=3")
RECIPES = {
    "clip": (),
    "penalty": ("loss=wasserstein_gp", "checkpoint.every_minutes=1e-9", "checkpoint.keep=1"),  # saved at every update
    "spectral": ("loss=hinge", "dataset.flip=true"),
}
CODES: dict[signal.Signals, int] = {number: 128 + number for number in signal.Signals} | {signal.SIGKILL: -9}
Position = dict[str, int]


class Whole:
    """The runs that were never stopped, and their operations on files."""

    def __init__(self, folder: Path, tiny: tuple[str, ...]) -> None:
        self._folder, self._tiny = folder, tiny

    def words(self, recipe: str) -> tuple[str, ...]:
        return (*self._tiny, *SHORT, *RECIPES[recipe])

    def __getitem__(self, recipe: str) -> Path:
        folder = self._folder / recipe
        if not folder.exists():
            fault = SignalAtOperation(folder, None, 0, self._folder / f"{recipe}.operations")
            run("wgan-train", *self.words(recipe), f"out={recipe}", cwd=self._folder, fault=fault)
        return folder

    def operations(self, recipe: str, until: str) -> list[str]:
        """Return the operations on files before the last one of this kind."""
        done = self[recipe].with_suffix(".operations").read_text().splitlines()
        return done[: len(done) - done[::-1].index(until) - 1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"), tiny)


def read_state(folder: Path) -> dict[str, Any]:
    """The bits of the newest state in a run's folder."""
    checkpoint = find_checkpoint(folder)[1]
    return bits({"tensors": dict(checkpoint.tensors), "counts": checkpoint.counts})


def require_equal(stopped: Path, whole: Path) -> None:
    """Every state, row and picture is the same, and no file is missing or left over.

    Only the log of a run that was killed may repeat lines.
    """
    assert results(stopped) == results(whole)
    assert names(stopped) == names(whole)
    tables = [(folder / "timing.csv").read_text().splitlines() for folder in (stopped, whole)]
    logs = [(folder / "wgan-train.log").read_text().splitlines() for folder in (stopped, whole)]
    steps = [[row.split(",")[:3] for row in table] for table in tables]
    logged = [[tuple(line.split()[2:8]) for line in lines if "critic_loss" in line] for lines in logs]
    assert steps[0] == steps[1]
    assert list(dict.fromkeys(logged[0])) == logged[1]
    assert len(logged[1]) == len(steps[1]) - 1


def in_the_middle_of_a_step(at: Position) -> bool:
    return 0 < at["critic_updates_in_step"] < 3


def between_epochs(at: Position) -> bool:
    return at["critic_updates"] in (5, 10)


def in_the_middle_of_an_epoch(at: Position) -> bool:
    return at["critic_updates"] % 5 > 0


def after_a_step(at: Position) -> bool:
    return at["critic_updates_in_step"] == 0 and in_the_middle_of_an_epoch(at)


def before_the_last_step(at: Position) -> bool:
    return (at["critic_updates"], at["step"]) == (15, 4)


MOMENTS: dict[int, Callable[[Position], bool]] = {
    2: in_the_middle_of_a_step,
    4: after_a_step,
    6: between_epochs,
    10: in_the_middle_of_an_epoch,
    13: between_epochs,
    19: before_the_last_step,
}
# Each moment with a signal that can be heeded, and some with a kill, which leaves the last checkpoint.
STOPS = [
    (2, signal.SIGINT, "clip"),
    (4, signal.SIGUSR1, "penalty"),
    (6, signal.SIGINT, "spectral"),
    (10, signal.SIGHUP, "clip"),
    (13, signal.SIGXCPU, "penalty"),
    (19, signal.SIGUSR2, "spectral"),
    (2, signal.SIGKILL, "penalty"),
    (10, signal.SIGKILL, "spectral"),
    (19, signal.SIGKILL, "clip"),
]


@pytest.mark.parametrize(("updates", "number", "recipe"), STOPS)
def test_a_signal_after_an_update(
    updates: int, number: signal.Signals, recipe: str, whole: Whole, tmp_path: Path
) -> None:
    fault = SignalsAtUpdate(updates, (number,), tmp_path / "note")
    said = run("wgan-train", *whole.words(recipe), "out=run", cwd=tmp_path, code=CODES[number], fault=fault)
    struck = json.loads((tmp_path / "note").read_text())
    assert MOMENTS[updates](struck)
    assert read_state(tmp_path / "run") != read_state(whole[recipe])
    if number != signal.SIGKILL:
        counts = find_checkpoint(tmp_path / "run")[1].counts
        assert {name: counts[name] for name in struck} == struck
        assert said.out.splitlines()[-1] == (
            f"stopped by {number.name} after step {struck['step']} and saved; resume with: wgan-train resume=run"
        )
        assert said.err == ""
    run("wgan-train", "resume=run", cwd=tmp_path)
    require_equal(tmp_path / "run", whole[recipe])


# In each part of the folder.
WRITES = [
    ("checkpoints", signal.SIGKILL, "clip"),
    ("checkpoints", signal.SIGKILL, "penalty"),
    ("checkpoints", signal.SIGINT, "spectral"),
    ("samples", signal.SIGKILL, "spectral"),
    ("samples", signal.SIGTERM, "clip"),
    ("", signal.SIGKILL, "penalty"),
    ("", signal.SIGINT, "penalty"),
]


@pytest.mark.parametrize(("part", "number", "recipe"), WRITES)
def test_a_signal_during_a_write(part: str, number: signal.Signals, recipe: str, whole: Whole, tmp_path: Path) -> None:
    """At any moment from the creation of the folder to the last save. The same command resumes or starts the run."""
    # A run that is asked to stop after its last row has nothing left to do, and is finished instead.
    last = "os.rename checkpoints/.epoch_0003.safetensors.partial" if number == signal.SIGKILL else "open metrics.csv"
    operations = whole.operations(recipe, until=last)
    inside = [count for count, done in enumerate(operations, 1) if done.split()[1].startswith(part)]
    count = random.Random(f"{part} {number} {recipe}").choice(inside)
    words = (*whole.words(recipe), "out=run", "resume=auto")
    fault = SignalAtOperation(tmp_path / "run", count, number, tmp_path / "note")
    said = run("wgan-train", *words, cwd=tmp_path, code=CODES[number], fault=fault)
    assert (tmp_path / "note").read_text().splitlines()[:count] == operations[:count]
    assert number == signal.SIGKILL or said.err == ""
    if any((tmp_path / "run").glob("checkpoints/*.safetensors")):
        assert read_state(tmp_path / "run") != read_state(whole[recipe])
    run("wgan-train", *words, cwd=tmp_path)
    require_equal(tmp_path / "run", whole[recipe])


def test_a_kill_with_half_a_checkpoint_on_the_disk(whole: Whole, tmp_path: Path) -> None:
    run("wgan-train", *whole.words("clip"), "out=run", cwd=tmp_path, code=-9, fault=TornSave(13))
    (torn,) = (tmp_path / "run/checkpoints").glob(".*.partial")
    assert 0 < torn.stat().st_size < (tmp_path / "run/checkpoints/last.safetensors").stat().st_size
    run("wgan-train", "resume=run", cwd=tmp_path)
    require_equal(tmp_path / "run", whole["clip"])


def test_a_second_ctrl_c_stops_at_once_and_harms_nothing(whole: Whole, tmp_path: Path) -> None:
    fault = SignalsAtUpdate(10, (signal.SIGINT, signal.SIGINT), tmp_path / "note")
    said = run("wgan-train", *whole.words("clip"), "out=run", cwd=tmp_path, code=130, fault=fault)
    assert said.out.splitlines()[-1].startswith("stopped at once, without saving; ")
    assert said.out.splitlines()[-1].endswith(": wgan-train resume=run")
    assert said.err == "wgan-train: interrupted by SIGINT\n"
    assert find_checkpoint(tmp_path / "run")[1].position.critic_updates == 5  # the end of the first epoch
    run("wgan-train", "resume=run", cwd=tmp_path)
    require_equal(tmp_path / "run", whole["clip"])


def test_a_second_sigterm_is_like_the_first(whole: Whole, tmp_path: Path) -> None:
    fault = SignalsAtUpdate(10, (signal.SIGTERM, signal.SIGTERM), tmp_path / "note")
    run("wgan-train", *whole.words("clip"), "out=run", cwd=tmp_path, code=143, fault=fault)
    struck = json.loads((tmp_path / "note").read_text())
    assert find_checkpoint(tmp_path / "run")[1].position.critic_updates == struck["critic_updates"]


def test_ctrl_c_in_a_terminal(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """As soon as the bar shows a row, wherever training is then. Rows appear in the bar and the log only."""
    endless = (*tiny, "epochs=100000")
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 160))
    process = start("wgan-train", *endless, "out=run", cwd=tmp_path, stderr=there)
    os.close(there)
    bar = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while piece := os.read(here, 4096):
            if b"wasserstein_estimate" in piece and b"wasserstein_estimate" not in bar:
                process.send_signal(signal.SIGINT)
            bar += piece
    os.close(here)
    said = answer(process)
    assert said.code == 130
    assert b"images/s" in bar
    assert said.out.splitlines()[-1].endswith("and saved; resume with: wgan-train resume=run")
    assert "wasserstein_estimate" not in said.out
    assert "wasserstein_estimate" in (tmp_path / "run/wgan-train.log").read_text()
    steps = find_checkpoint(tmp_path / "run")[1].position.step + 3
    run("wgan-train", "resume=run", f"max_steps={steps}", cwd=tmp_path)
    run("wgan-train", *endless, f"max_steps={steps}", "out=whole", cwd=tmp_path)
    require_equal(tmp_path / "run", tmp_path / "whole")


# A signal at the first import of a module.
AT_IMPORT = """
import os, sys
name, number = sys.argv.pop(1), int(sys.argv.pop(1))
def hook(event, arguments):
    global name
    if event == "import" and arguments[0] == name:
        name = None
        os.kill(os.getpid(), number)
sys.addaudithook(hook)
from wgan_cli.cli.main import wgan_train
wgan_train()
"""


@pytest.mark.parametrize(
    ("module", "number"),
    [("wgan_cli.cli.train", signal.SIGTERM), ("hydra", signal.SIGINT), ("torch", signal.SIGTERM)],
)
def test_a_signal_during_an_import(module: str, number: signal.Signals, tiny: tuple[str, ...], tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", AT_IMPORT, module, str(int(number)), *tiny],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (said.returncode, said.stdout) == (128 + number, "")
    assert said.stderr == f"wgan-train: interrupted by {number.name}\n"
    assert names(tmp_path) == set()


def test_a_signal_that_a_library_turns_into_its_own_error(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """While Hydra composes: it is not the user's mistake."""
    fault = SignalWhileComposing(3, signal.SIGTERM)
    said = run("wgan-train", *tiny, cwd=tmp_path, code=143, fault=fault)
    assert (said.out, said.err) == ("", "wgan-train: interrupted by SIGTERM\n")
    assert names(tmp_path) == set()


def test_a_signal_between_the_jobs_of_a_sweep(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """While Hydra composes the second job, after both were composed to find mistakes."""
    fault = SignalWhileComposing(10, signal.SIGINT)
    words = ("-m", *tiny, "epochs=1", "seed=1,2", "out=sweep")
    said = run("wgan-train", *words, cwd=tmp_path, code=130, fault=fault)
    assert said.out.splitlines()[-1].endswith("out=sweep resume=auto")
    assert (tmp_path / "sweep/0/checkpoints/epoch_0001.safetensors").is_file()
    assert not (tmp_path / "sweep/1").exists()


def test_a_signal_while_a_picture_is_written(whole: Whole, tmp_path: Path) -> None:
    fault = SignalAtOperation(tmp_path / "out", 2, signal.SIGTERM, tmp_path / "note")
    arguments = (f"checkpoint={whole['clip']}", "out=out/grid.png")
    said = run("wgan-sample", *arguments, cwd=tmp_path, code=143, fault=fault)
    assert (tmp_path / "note").read_text().splitlines()[1] == "os.rename .grid.png.partial"
    assert said.err == "wgan-sample: interrupted by SIGTERM\n"
    assert names(tmp_path / "out") == set()
