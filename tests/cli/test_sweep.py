"""Sweeps: every job as if it had been alone, whatever became of the others."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.commands import TINY, checkpoint, names, results, run
from wgan_cli.cli.sweep import _how_to_go_on

pytestmark = pytest.mark.slow
SHORT = (*TINY, "epochs=1")
JOBS = {
    "0": ("n_critic=1", "loss=wasserstein"),
    "1": ("n_critic=1", "loss=hinge"),
    "2": ("n_critic=2", "loss=wasserstein"),
    "3": ("n_critic=2", "loss=hinge"),
}


def test_each_job_is_what_a_single_run_would_have_been(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    (tmp_path / "singles").mkdir()
    singles = [
        pool.submit(run, "wgan-train", *SHORT, *words, f"hydra.run.dir={job}", cwd=tmp_path / "singles")
        for job, words in JOBS.items()
    ]
    words = ("n_critic=1,2", "loss=wasserstein,hinge", "hydra.sweep.dir=sweep")
    said = run("wgan-train", "-m", *SHORT, *words, cwd=tmp_path)
    assert "failed" not in said.out
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {*JOBS, "multirun.yaml"}
    for single in singles:
        single.result()
    for job, chosen in JOBS.items():
        alone, swept = tmp_path / "singles" / job, tmp_path / "sweep" / job
        assert names(swept) == names(alone)
        assert results(swept) == results(alone)
        config = checkpoint(swept / "checkpoints/last.pt")["config"]
        assert config == checkpoint(alone / "checkpoints/last.pt")["config"]
        assert [f"n_critic={config['n_critic']}", f"loss={config['loss']['name']}"] == list(chosen)
        noted: Mapping[str, object] = yaml.safe_load((swept / ".hydra/config.yaml").read_text())
        assert noted == config
    assert {path.name for path in tmp_path.iterdir()} == {"singles", "sweep"}


def test_a_job_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    words = ("dataset.limit=4,40", "optimizer.learning_rate=0.001,nan", "hydra.sweep.dir=sweep")
    said = run("wgan-train", "-m", *SHORT, *words, cwd=tmp_path, code=2)
    end = said.out[said.out.index("3 of the jobs failed:") :].splitlines()
    assert [line.split(":")[0] for line in end[1::2]] == ["  #0", "  #1", "  #3"]
    assert "dataset.limit=4 " in end[1]
    assert "batch_size=8: must be at most the 4 training images" in end[2]
    assert "optimizer.learning_rate=nan: must be a number above 0" in end[6]
    assert "checkpoints/last.pt" in names(tmp_path / "sweep" / "2")
    assert not names(tmp_path / "sweep" / "0")


def test_a_sweep_whose_job_breaks_off_ends_with_that_kind_of_code(tmp_path: Path) -> None:
    """3: the first job's loss overflows; the second is trained to its end."""
    words = ("loss=wasserstein_gp", "optimizer.learning_rate=1e30,0.001", "hydra.sweep.dir=sweep")
    said = run("wgan-train", "-m", *SHORT, *words, cwd=tmp_path, code=3)
    assert "1 of the jobs failed:" in said.out
    assert "not finite" in said.out.splitlines()[-1]
    assert [path.name for path in (tmp_path / "sweep/0/checkpoints").iterdir()] == ["last.pt"]  # as it began
    assert "samples/epoch_0001.png" in names(tmp_path / "sweep" / "1")


def test_the_flag_may_stand_anywhere(tmp_path: Path) -> None:
    said = run("wgan-train", *SHORT, "-m", "n_critic=1,2", "dry_run=true", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert said.out.count("steps in all") == 2
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-m seed=1,2", "-m seed=1,2 hydra.sweep.dir=out/s resume=auto"),
        ("-m seed=1,2 hydra.sweep.dir=x resume=auto", "-m seed=1,2 hydra.sweep.dir=out/s resume=auto"),
        ("-m resume=a,b epochs=9", "-m resume=a,b epochs=9"),
    ],
)
def test_how_a_sweep_goes_on(words: str, expected: str) -> None:
    assert _how_to_go_on(words.split(), Path("out/s")) == expected


def test_a_sweeps_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run("wgan-train", "-m", *SHORT, "seed=1,2", "hydra.sweep.dir=file/sweep", cwd=tmp_path, code=2)
    assert said.err.startswith("wgan-train: hydra.sweep.dir=file/sweep: cannot be used (Not a directory)")
