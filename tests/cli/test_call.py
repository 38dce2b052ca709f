"""The commands from Python, and parts of a user's own."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wgan_cli
from tests.cli.conftest import FinishedRuns
from tests.commands import refuse, results, run
from wgan_cli.losses import LOSSES
from wgan_cli.run.recorder import Recorder

LOSS = """
from wgan_cli.losses import LOSSES, Wasserstein
class Mine(Wasserstein):
    def __init__(self, weight: float = 2.0) -> None:
        self.weight = weight
LOSSES["mine"] = Mine
"""


@pytest.fixture(autouse=True)
def _keep_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    LOSSES.pop("mine", None)


def test_a_run_from_python_is_that_of_the_command(runs: FinishedRuns, tiny: tuple[str, ...]) -> None:
    folder, metrics = wgan_cli.train([*tiny, "out=here"])
    assert folder == Path("here")
    assert results(folder) == results(runs["whole"])
    last = (folder / "metrics.csv").read_text().splitlines()[-1]
    assert list(metrics.values()) == [float(value) for value in last.split(",")]
    assert metrics["step"] == 5
    assert wgan_cli.train([*tiny, "out=nowhere", "dry_run=true"]) == (Path("nowhere"), {})
    assert wgan_cli.train(["resume=here", "epochs=3"]).metrics["epoch"] == 3


def test_mistakes_are_value_errors(tiny: tuple[str, ...]) -> None:
    for words, message in (
        (["lose=hinge"], "lose: no such setting"),
        (["loss=hinje"], "loss=hinje: no such option"),
        ([*tiny, "batch_size=41"], "batch_size=41: must be at most 40"),
        (["--help"], "takes the settings of one run, without flags"),
        (["-m", "seed=1,2"], "takes the settings of one run, without flags"),
    ):
        with pytest.raises(ValueError, match=message):
            wgan_cli.train(words)
    assert list(Path().iterdir()) == []


def test_the_stop_button_of_a_notebook(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sends SIGINT. The state is saved, and the code after the call does not run."""
    usual = Recorder.record

    def record(self: Recorder, state: Any) -> None:
        usual(self, state)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Recorder, "record", record)
    with pytest.raises(KeyboardInterrupt):
        wgan_cli.train([*tiny, "out=stopped"])
    assert "stopped by SIGINT after step 0 and saved; resume with: wgan-train resume=stopped" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_part_of_ones_own(tiny: tuple[str, ...], tmp_path: Path) -> None:
    Path("mine.py").write_text(LOSS)
    own = (*tiny, "plugins=mine.py", "loss=mine", "max_steps=1")
    assert "loss        mine" in run("wgan-train", *own, "out=run", cwd=tmp_path).out
    run("wgan-sample", "checkpoint=run", cwd=tmp_path)  # its generator is one of the program's
    said = refuse("wgan-train", "resume=run", "max_steps=2", cwd=tmp_path)
    assert "resume=run: has loss=mine, which is not part of the program; add plugins=[mine.py]\n" in said
    run("wgan-train", "resume=run", "max_steps=2", "plugins=[mine.py]", cwd=tmp_path)
    run("wgan-train", "-m", *own, "loss.weight=1,3", "out=sweep", cwd=tmp_path)
    said = refuse("wgan-train", *own, "loss.weigth=1", cwd=tmp_path)
    assert "loss.weigth: no such setting in loss (did you mean weight?); must be one of weight\n" in said
    said = refuse("wgan-train", *tiny, "loss=mine", cwd=tmp_path)
    assert "loss=mine: no such option" in said
    assert "mine" in wgan_cli.train([*own, "out=python"]).folder.joinpath("config.yaml").read_text()
