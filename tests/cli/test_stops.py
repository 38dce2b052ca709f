"""A run that was stopped anywhere, by whatever signal, and goes on is the run that was never stopped: to the bit."""

import json
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.builders import bits
from tests.commands import TINY, Answer, Fault, environment, names, results, run
from tests.faults import SignalAtOperation, SignalsAtUpdate, SignalWhileComposing, TornSave
from wgan_cli.run.checkpoints import newest_checkpoint

pytestmark = pytest.mark.slow

# Critic updates c, generator updates g and ends of epochs |, of which each has five critic updates:
#   c c c g c c | c g c c c g c | c c g c c c g |
# The last epoch ends with the step that its last critic update makes due: after 20 updates of either player.
SHORT = (*TINY, "n_critic=3", "epochs=3", "log.every=2", "ema=true")
RECIPES = {
    "clip": ("loss=wasserstein", "constraint=clip", "generator=mlp", "critic=mlp", "generator.latent_dim=6",
             "generator.hidden_sizes=[12,12]", "critic.hidden_sizes=[12,12]"),
    "penalty": ("loss=wasserstein_gp", "checkpoint.every_minutes=1e-9", "checkpoint.keep=1"),  # a save at each update
    "spectral": ("loss=hinge", "constraint=spectral_norm"),
}  # fmt: skip
PARTS = ("checkpoints", "samples", "")  # of a run's folder; the last is all of it
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


class Whole:
    """The runs that were never stopped, and what they did to files."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor, photos: tuple[str, ...]) -> None:
        self.folder = folder
        self.photos = photos
        self._answers: dict[str, Future[Answer]] = {}
        for recipe in RECIPES:
            fault = SignalAtOperation(folder / recipe, None, 0, folder / f"{recipe}.operations")
            where = f"hydra.run.dir={recipe}"
            self._answers[recipe] = pool.submit(run, "wgan-train", *self.words(recipe), where, cwd=folder, fault=fault)

    def __getitem__(self, recipe: str) -> Path:
        self._answers[recipe].result()
        return self.folder / recipe

    def words(self, recipe: str) -> tuple[str, ...]:
        """What is typed; an MLP has no width."""
        unknown = ("generator.width=", "critic.width=") if recipe == "clip" else ("nothing",)
        return (*(word for word in SHORT if not word.startswith(unknown)), *RECIPES[recipe], *self.photos)

    def operations(self, recipe: str, until: str) -> list[str]:
        """What was done to files until something was for the last time."""
        self._answers[recipe].result()
        done = (self.folder / f"{recipe}.operations").read_text().splitlines()
        return done[: len(done) - done[::-1].index(until)]

    def last(self, recipe: str) -> dict[str, Any]:
        """The bits of the last state."""
        return bits(newest_checkpoint(self[recipe], "")[1].state)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor, photos: tuple[str, ...]) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"), pool, photos)


def require_equal(stopped: Path, whole: Path) -> None:
    """Every state, row and picture is the same, no file is missing and none left over, and no line is there twice."""
    assert results(stopped) == results(whole)
    assert names(stopped) == names(whole)
    tables = [(folder / "timing.csv").read_text().splitlines() for folder in (stopped, whole)]
    logs = [(folder / "wgan-train.log").read_text().splitlines() for folder in (stopped, whole)]
    steps = [[row.split(",")[:3] for row in table] for table in tables]
    logged = [[line.split()[2:8] for line in lines if "critic_loss" in line] for lines in logs]
    assert steps[0] == steps[1]
    assert logged[0] == logged[1]
    assert len(logged[0]) == len(steps[0]) - 1


def require_unfinished(stopped: Path, last: dict[str, Any]) -> dict[str, Any]:
    """The state that was left is another than the last; return it."""
    _, left = newest_checkpoint(stopped, "")
    assert bits(left.state) != last
    return left.state


def in_the_middle_of_a_step(at: dict[str, int]) -> bool:
    return 0 < at["critic_updates_in_step"] < 3


def between_epochs(at: dict[str, int]) -> bool:
    return at["critic_updates"] in (5, 10)


def in_the_middle_of_an_epoch(at: dict[str, int]) -> bool:
    return at["critic_updates"] % 5 > 0


def after_a_step(at: dict[str, int]) -> bool:
    return at["critic_updates_in_step"] == 0 and in_the_middle_of_an_epoch(at)


def before_the_last_step(at: dict[str, int]) -> bool:
    return (at["critic_updates"], at["step"]) == (15, 4)


MOMENTS: dict[int, Callable[[dict[str, int]], bool]] = {
    2: in_the_middle_of_a_step,
    4: after_a_step,
    6: between_epochs,
    10: in_the_middle_of_an_epoch,
    13: between_epochs,
    19: before_the_last_step,
}


class Stopped:
    """Runs that were stopped, and what they left and became, two at a time: each is asked for by its test."""

    def __init__(self, folder: Path, whole: Whole, pool: ThreadPoolExecutor) -> None:
        self._folder, self._whole, self._pool = folder, whole, pool
        self._made: dict[tuple[object, ...], Future[Stop]] = {}
        for recipe in RECIPES:
            for number in CODES:
                for updates in MOMENTS:
                    self._submit(self._after, recipe, updates, number)
                for part in PARTS:
                    self._submit(self._while_writing, recipe, part, number)

    def __getitem__(self, what: tuple[object, ...]) -> "Stop":
        return self._made[what].result()

    def _submit(self, make: Callable[..., "Stop"], *what: object) -> None:
        self._made[what] = self._pool.submit(make, *what)

    def _after(self, recipe: str, updates: int, number: signal.Signals) -> "Stop":
        return self._stop(recipe, number, partial(SignalsAtUpdate, updates, (number,)), again="resume=run")

    def _while_writing(self, recipe: str, part: str, number: signal.Signals) -> "Stop":
        # After the last row a run that is asked to stop has nothing left to do, and is finished instead.
        last = "os.rename checkpoints/.epoch_0003.pt.partial" if number == signal.SIGKILL else "open metrics.csv"
        operations = self._whole.operations(recipe, until=last)[:-1]
        inside = [count for count, done in enumerate(operations, 1) if not part or done.split()[1].startswith(part)]
        count = random.Random(f"{recipe} {part} {number}").choice(inside)
        stop = self._stop(recipe, number, lambda note: SignalAtOperation(note.with_name("run"), count, number, note))
        struck = (stop.folder / "note").read_text().splitlines()
        assert struck[:count] == operations[:count]
        assert struck[count - 1].split()[1].startswith(part)
        assert number != signal.SIGKILL or len(struck) == count
        return stop

    def _stop(
        self, recipe: str, number: signal.Signals, fault: Callable[[Path], Fault], again: str | None = None
    ) -> "Stop":
        """Stop a run, look at what is left, and go on: with ``again``, or else the same words once more."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        first = (*self._whole.words(recipe), "hydra.run.dir=run", *(["resume=auto"] if again is None else []))
        said = run("wgan-train", *first, cwd=folder, code=CODES[number], fault=fault(folder / "note"))
        saved = any((folder / "run").glob("checkpoints/*.pt"))
        left = newest_checkpoint(folder / "run", "")[1].state if saved else None
        run("wgan-train", *(first if again is None else [again]), cwd=folder)
        return Stop(folder, said, left)


@dataclass(frozen=True)
class Stop:
    """A run that was stopped and went on: where, what it said when it was stopped, and the state it left, if any."""

    folder: Path
    said: Answer
    left: dict[str, Any] | None


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, whole: Whole, pool: ThreadPoolExecutor) -> Stopped:
    return Stopped(tmp_path_factory.mktemp("stopped"), whole, pool)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("updates", MOMENTS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_stopped_by_a_signal_after_an_update(
    recipe: str, updates: int, number: signal.Signals, whole: Whole, stopped: Stopped
) -> None:
    stop = stopped[recipe, updates, number]
    struck = json.loads((stop.folder / "note").read_text())
    assert MOMENTS[updates](struck)
    assert stop.left is not None
    assert bits(stop.left) != whole.last(recipe)
    if number != signal.SIGKILL:  # which leaves the last checkpoint, and not the state at its moment
        assert {name: stop.left[name] for name in struck} == struck
        assert stop.said.out.splitlines()[-1] == (
            f"stopped by {number.name} after step {struck['step']} and saved; go on with: wgan-train resume=run"
        )
        assert stop.said.err == ""
    require_equal(stop.folder / "run", whole[recipe])


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_stopped_by_a_signal_in_the_middle_of_writing(
    recipe: str, part: str, number: signal.Signals, whole: Whole, stopped: Stopped
) -> None:
    """From making the folder to saving the last state; the same command goes on, or begins where nothing was saved."""
    stop = stopped[recipe, part, number]
    assert number == signal.SIGKILL or stop.said.err == ""
    assert stop.left is None or bits(stop.left) != whole.last(recipe)
    require_equal(stop.folder / "run", whole[recipe])


@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_with_half_a_checkpoint_on_the_disk(recipe: str, whole: Whole, tmp_path: Path) -> None:
    run("wgan-train", *whole.words(recipe), "hydra.run.dir=run", cwd=tmp_path, code=-9, fault=TornSave(13))
    (torn,) = (tmp_path / "run/checkpoints").glob(".*.partial")
    assert 0 < torn.stat().st_size < (tmp_path / "run/checkpoints/last.pt").stat().st_size
    require_unfinished(tmp_path / "run", whole.last(recipe))
    run("wgan-train", "resume=run", cwd=tmp_path)
    require_equal(tmp_path / "run", whole[recipe])


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_second_ctrl_c_stops_at_once_and_harms_nothing(
    numbers: tuple[signal.Signals, ...], whole: Whole, tmp_path: Path
) -> None:
    fault = SignalsAtUpdate(10, numbers, tmp_path / "note")
    said = run("wgan-train", *whole.words("clip"), "hydra.run.dir=run", cwd=tmp_path, code=130, fault=fault)
    assert "stopped at once, without saving" in said.out.splitlines()[-1]
    assert said.out.splitlines()[-1].endswith("wgan-train resume=run")
    assert said.err == "wgan-train: interrupted by SIGINT\n"
    assert require_unfinished(tmp_path / "run", whole.last("clip"))["critic_updates"] == 5  # the end of the first epoch
    run("wgan-train", "resume=run", cwd=tmp_path)
    require_equal(tmp_path / "run", whole["clip"])


def test_a_second_sigterm_is_as_good_as_one(whole: Whole, tmp_path: Path) -> None:
    fault = SignalsAtUpdate(10, (signal.SIGTERM, signal.SIGTERM), tmp_path / "note")
    run("wgan-train", *whole.words("clip"), "hydra.run.dir=run", cwd=tmp_path, code=143, fault=fault)
    left = require_unfinished(tmp_path / "run", whole.last("clip"))
    assert left["critic_updates"] == json.loads((tmp_path / "note").read_text())["critic_updates"]


# A signal when the program is about to import something for the first time.
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["wgan_cli.cli.train", "hydra", "torch", "wgan_cli.build"])
def test_a_signal_while_the_program_is_still_being_imported(
    module: str, number: signal.Signals, tmp_path: Path
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", AT_IMPORT, module, str(int(number)), *SHORT],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (said.returncode, said.stdout) == (128 + number, "")
    assert said.stderr == f"wgan-train: interrupted by {number.name}\n"
    assert names(tmp_path) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_which_a_library_raises_an_error_of_its_own(number: signal.Signals, tmp_path: Path) -> None:
    """While the configuration is composed: it is no mistake of the user's."""
    fault = SignalWhileComposing("load_configuration", 1, number)
    said = run("wgan-train", *SHORT, cwd=tmp_path, code=128 + number, fault=fault)
    assert (said.out, said.err) == ("", f"wgan-train: interrupted by {number.name}\n")
    assert names(tmp_path) == set()


def test_a_signal_between_the_jobs_of_a_sweep(tmp_path: Path) -> None:
    """While Hydra composes the second of them, after it has composed both to see whether it can."""
    words = ("-m", *SHORT, "epochs=1", "seed=1,2", "hydra.sweep.dir=sweep")
    fault = SignalWhileComposing("load_sweep_config", 4, signal.SIGINT)
    said = run("wgan-train", *words, cwd=tmp_path, code=130, fault=fault)
    assert "go on with: wgan-train -m" in said.out.splitlines()[-1]
    assert (tmp_path / "sweep/0/checkpoints/epoch_0001.pt").is_file()
    assert not (tmp_path / "sweep/1").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_picture_is_written(number: signal.Signals, whole: Whole, tmp_path: Path) -> None:
    fault = SignalAtOperation(tmp_path / "out", 2, number, tmp_path / "note")
    arguments = (f"checkpoint={whole['clip']}", "out=out/grid.png")
    said = run("wgan-sample", *arguments, cwd=tmp_path, code=128 + number, fault=fault)
    assert (tmp_path / "note").read_text().splitlines()[1] == "os.rename .grid.png.partial"
    assert said.err == f"wgan-sample: interrupted by {number.name}\n"
    assert names(tmp_path / "out") == set()
