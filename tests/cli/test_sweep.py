"""Sweeps: every job is what a single run would have been, whatever happens to the others."""

import re
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import answer, names, read_checkpoint, results, run, start, tree
from tests.faults import SignalsAtUpdate
from wgan_cli.cli.command_line import parse_command_line
from wgan_cli.cli.sweep import _format_resume

pytestmark = pytest.mark.slow
JOBS = {"0": "loss=wasserstein", "1": "loss=hinge"}


def read_config(folder: Path) -> Mapping[str, object]:
    config: Mapping[str, object] = read_checkpoint(folder / "checkpoints/last.safetensors")[1]["config"]
    return config


def test_each_job_is_what_a_single_run_would_have_been(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "epochs=1", "-m", "loss=wasserstein,hinge")
    said = run("wgan-train", *words, "out=sweep", cwd=tmp_path)
    assert "failed" not in said.out
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {*JOBS, "multirun.yaml"}
    for job, chosen in JOBS.items():
        alone, swept = tmp_path / "singles" / job, tmp_path / "sweep" / job
        run("wgan-train", *tiny, "epochs=1", chosen, f"out=singles/{job}", cwd=tmp_path)
        assert names(swept) == names(alone)
        assert results(swept) == results(alone)
        assert read_config(swept) == read_config(alone)
    assert {path.name for path in tmp_path.iterdir()} == {"singles", "sweep"}


def test_a_job_that_fails_does_not_stop_the_others(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """By the user's mistakes, and then by a loss that is not finite: the first one decides the exit code."""
    words = ("-m", *tiny, "epochs=1", "dataset.limit=4,40", "optimizer.learning_rate=0.001,nan", "out=sweep")
    said = run("wgan-train", *words, cwd=tmp_path, code=2)
    end = said.out[said.out.index("3 of the jobs failed:") :].splitlines()
    assert [line.split(":")[0] for line in end[1::2]] == ["  #0", "  #1", "  #3"]
    assert "dataset.limit=4 " in end[1]
    assert "batch_size=8: must be at most 4, the number of training images" in end[2]
    assert "optimizer.learning_rate=nan: must be a number above 0" in end[6]
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"2", "multirun.yaml"}
    assert "samples/epoch_0001.png" in names(tmp_path / "sweep/2")


def test_jobs_in_several_processes(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """One of them fails. When the sweep is repeated with resume=auto, it alone is trained again."""
    words = ("-m", *tiny, "loss=wasserstein_gp", "optimizer.critic_learning_rate=1e30,0.001", "out=sweep")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    said = answer(start("wgan-train", *words, *joblib, cwd=tmp_path))
    assert said.code == 3, said.err
    assert "Traceback" not in said.out + said.err
    summary = said.out[said.out.index("1 of the jobs failed:") :].splitlines()
    assert summary[1].startswith("  #0: ")
    assert re.search("not finite.* The last good checkpoint is sweep/0/checkpoints/last.safetensors.", summary[2])
    logs = [(tmp_path / f"sweep/{job}/wgan-train.log").read_text() for job in (0, 1)]
    assert ["not finite" in log for log in logs] == [True, False]
    assert [f"results     sweep/{job}" in log for job, log in enumerate(logs)] == [True, True]
    assert logs[1].count("wasserstein_estimate") == 3
    assert "finished after step 5" in logs[1]
    before = tree(tmp_path / "sweep/1")
    said = run("wgan-train", *words, "resume=auto", cwd=tmp_path, code=3)
    assert "resuming sweep/0, which has these settings" in said.out
    assert "nothing to do: sweep/1 has these settings and is finished" in said.out
    assert tree(tmp_path / "sweep/1") == before
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"0", "1", "multirun.yaml"}


def test_a_sweep_that_was_stopped(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """In the second of three jobs. The first is left alone, and the third starts."""
    jobs = ("-m", *tiny, "epochs=1", "seed=1,2,3")
    run("wgan-train", *jobs, "out=whole", cwd=tmp_path)
    fault = SignalsAtUpdate(11, (signal.SIGTERM,), tmp_path / "note")  # a job has seven updates
    said = run("wgan-train", *jobs, "out=sweep", cwd=tmp_path, code=143, fault=fault)
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"multirun.yaml", "0", "1"}
    program, *words = shlex.split(f"wgan-train {shlex.join(jobs)} out=sweep resume=auto")
    assert shlex.split(said.out.splitlines()[-1].partition("resume it with: ")[2]) == [program, *words]
    (tmp_path / "sweep/.failed-000000").write_text('[3, "of an earlier attempt"]')
    done = tree(tmp_path / "sweep/0")
    said = run(program, *words, cwd=tmp_path)
    assert tree(tmp_path / "sweep/0") == done
    assert "nothing to do: sweep/0 has these settings and is finished" in said.out
    assert "resuming sweep/1, which has these settings" in said.out
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"multirun.yaml", "0", "1", "2"}
    for job in "012":
        assert results(tmp_path / "sweep" / job) == results(tmp_path / "whole" / job)
        assert names(tmp_path / "sweep" / job) == names(tmp_path / "whole" / job)


def test_a_dry_run_of_a_sweep(tmp_path: Path) -> None:
    """The folders that are printed are those of the jobs, here named after their settings. Nothing is left."""
    words = ("-m", "seed=1,2", "dataset.limit=70", "dry_run=true", "hydra.sweep.subdir=${hydra.job.override_dirname}")
    said = run("wgan-train", *words, "out='~/new/sweep'", "resume=auto", cwd=tmp_path)  # this folder is also the home
    folders = [f"{tmp_path}/new/sweep/dataset.limit=70,dry_run=True,seed={seed}" for seed in (1, 2)]
    assert re.findall(r"results +(.*)", said.out) == folders
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-m seed=1,2", "-m seed=1,2 out=runs/s resume=auto"),
        ("-m seed=1,2 out=x resume=auto", "-m seed=1,2 out=runs/s resume=auto"),
        ("-m resume=a,b epochs=9", "-m resume=a,b epochs=9"),
    ],
)
def test_the_command_that_resumes_a_sweep(words: str, expected: str) -> None:
    assert _format_resume(parse_command_line("train", words.split()), Path("runs/s")) == expected
