"""What a run of ``wgan-train`` prints and leaves."""

import shlex
import sys
from io import TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.builders import bits
from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, names, read_checkpoint, results, run, tree

pytestmark = pytest.mark.slow


def test_files(runs: FinishedRuns) -> None:
    whole = runs["whole"]
    assert names(whole) == {
        ".lock",
        "checkpoints/epoch_0001.safetensors",
        "checkpoints/epoch_0002.safetensors",
        "checkpoints/last.safetensors",
        "config.yaml",
        "metrics.csv",
        "samples/epoch_0001.png",
        "samples/epoch_0002.png",
        "samples/progress.gif",
        "samples/real.png",
        "timing.csv",
        "wgan-train.log",
    }
    assert {path.name for path in whole.parent.iterdir()} <= {"whole", "half", "other_seed"}  # nothing beside out=
    rows = (whole / "metrics.csv").read_text().splitlines()
    assert rows[0].split(",")[:3] == ["step", "epoch", "critic_updates"]
    assert [row.split(",")[:3] for row in rows[1:]] == [["2", "1", "4"], ["4", "2", "8"], ["5", "2", "10"]]
    timing = (whole / "timing.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in timing] == [row.split(",")[:3] for row in rows]
    with Image.open(whole / "samples/epoch_0002.png") as grid:
        assert grid.size == (8 * 10 + 2, 8 * 10 + 2)
        assert np.asarray(grid).std() > 0


def test_the_default_folder(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """Named after the date and the time, so that two runs never meet."""
    said = run("wgan-train", *tiny, "max_steps=1", cwd=tmp_path)
    (config,) = tmp_path.glob("outputs/????-??-??/??-??-??-??????/config.yaml")
    assert said.out.splitlines()[-1].endswith(f"wgan-sample checkpoint={config.parent.relative_to(tmp_path)}")
    assert (tmp_path / "outputs/latest").resolve() == config.parent
    run("wgan-train", "-m", *tiny, "seed=1", "max_steps=1", cwd=tmp_path)
    (sweep,) = tmp_path.glob("outputs/????-??-??/*/multirun.yaml")
    assert (tmp_path / "outputs/latest").resolve() == sweep.parent
    assert not (sweep.parent / "latest").exists()


def test_the_plan_and_the_log(runs: FinishedRuns) -> None:
    said = runs.answer("whole")
    logged = (runs["whole"] / "wgan-train.log").read_text()
    assert said.err == ""
    for words in ("cpu, 1 thread, fp32", "image_folder, 40 for training, 1×8×8, batches of 8", " 5 steps;"):
        assert words in said.out
        assert words in logged
    assert said.out.splitlines()[-2:] == [
        "the newest images are in whole/samples/epoch_0002.png, and all grids in whole/samples/progress.gif",
        "finished after step 5; draw more images with: wgan-sample checkpoint=whole",
    ]
    assert said.out.count("wasserstein_estimate") == 3  # a line for each row, because there is no terminal for a bar


def test_another_seed_gives_another_run_on_the_same_data(runs: FinishedRuns) -> None:
    one, other = results(runs["whole"]), results(runs["other_seed"])
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] == other[name]} == {"samples/real.png"}


def test_the_settings_in_force(runs: FinishedRuns, tiny: tuple[str, ...]) -> None:
    """In config.yaml after the command line, and in the checkpoint. What was null has its value."""
    first, _, text = (runs["whole"] / "config.yaml").read_text().partition("\n")
    assert shlex.split(first) == ["#", "wgan-train", *tiny, "out=whole"]
    config = yaml.safe_load(text)
    clip_value = config["clip_value"]
    assert (config["n_critic"], config["generator_batch_size"], config["seed"]) == (2, 8, 0)
    assert 0 < clip_value < 1
    assert config["constraint"] == {"name": "clip", "clip_value": clip_value}
    assert config["out"] == "whole"
    saved = read_checkpoint(runs["whole"] / "checkpoints/last.safetensors")[1]
    assert saved["config"] == {**config, "out": None}
    assert saved["versions"].keys() >= {"wgan-cli", "torch"}


def test_an_epochs_checkpoint_is_the_state_at_its_end(runs: FinishedRuns) -> None:
    files = [runs["whole"] / f"checkpoints/{name}.safetensors" for name in ("epoch_0001", "epoch_0002", "last")]
    (first, after_one), (last, after_two) = map(read_checkpoint, files[:2])
    keys = ("critic_updates", "step", "critic_updates_in_step")
    assert [after_one["counts"][key] for key in keys] == [5, 2, 1]
    assert [after_two["counts"][key] for key in keys] == [10, 5, 0]
    assert bits(first) != bits(last)
    assert files[2].samefile(files[1])


def test_a_loss_that_is_not_finite(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "loss=wasserstein_gp", "optimizer.learning_rate=1e30", "optimizer.critic_learning_rate=null")
    said = run("wgan-train", *words, "out=run", cwd=tmp_path, code=3)
    assert said.err.startswith("wgan-train: in step ")
    assert "not finite" in said.err
    assert said.err.endswith("The last good checkpoint is run/checkpoints/last.safetensors.\n")
    assert len(said.err.splitlines()) == 1
    counts = read_checkpoint(tmp_path / "run/checkpoints/last.safetensors")[1]["counts"]
    assert (counts["step"], counts["critic_updates"]) == (0, 0)  # as it was at the start
    assert "not finite" in (tmp_path / "run/wgan-train.log").read_text()


def test_a_dry_run_prints_the_plan_and_leaves_nothing(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "loss=hinge", "constraint=clip", "epochs=3", "dry_run=true", "out=run")
    said = run("wgan-train", *words, cwd=tmp_path).out
    assert "hinge, constraint clip (clip_value " in said
    assert "3 epochs, 7 steps; an epoch has 5 critic updates" in said
    assert said.splitlines()[-1].split() == ["results", "run"]
    warned = run("wgan-train", *words, "n_critic=100", cwd=tmp_path).out
    assert "ends after 15 critic updates, before the generator's first, which follows 100" in warned
    assert "before the generator's first" not in said
    assert tree(tmp_path) == {}


def use_ascii() -> None:
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(encoding="ascii", errors="strict")


def test_a_terminal_without_all_letters(tiny: tuple[str, ...], tmp_path: Path) -> None:
    said = run("wgan-train", *tiny, "dry_run=true", cwd=tmp_path, fault=use_ascii)
    assert r"40 for training, 1\xd78\xd78, batches of 8" in said.out


def test_a_loss_beside_a_recipe(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """What stays of the recipe is said, with the words that bring what the loss usually has."""
    words = [*tiny, "experiment=labml_wgan", "dataset=image_folder", "loss=wasserstein", "dry_run=true"]
    said = run("wgan-train", *words, cwd=tmp_path).out.splitlines()[0]
    stays, _, usual = said.partition(" of the recipe; usual for this loss: ")
    assert (stays, usual) == ("constraint=none optimizer=adam", "constraint=clip optimizer=rmsprop")
    assert "usual for" not in run("wgan-train", *words, *usual.split(), cwd=tmp_path).out


def test_a_recipe_with_settings_beside_it(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """A resumed run needs no recipe."""
    images = [word for word in tiny if word.startswith(("dataset=", "dataset.root="))]
    words = (*images, "batch_size=8", "max_steps=2", "device=cpu", "out=run")
    run("wgan-train", "experiment=pytorch_gan_relativistic", "loss=relativistic_average", *words, cwd=tmp_path)
    saved = read_checkpoint(tmp_path / "run/checkpoints/last.safetensors")[1]
    config = saved["config"]
    assert (config["loss"]["name"], config["constraint"]["name"]) == ("relativistic_average", "none")
    assert (config["generator"]["name"], config["generator"]["normalization_eps"]) == ("upsample_conv", 0.8)
    assert (config["batch_size"], config["epochs"], saved["data"]["shape"]) == (8, 200, [3, 32, 32])
    run("wgan-train", "resume=run", "max_steps=3", cwd=tmp_path)
    assert read_checkpoint(tmp_path / "run/checkpoints/last.safetensors")[1]["counts"]["step"] == 3


def test_classes(tmp_path: Path) -> None:
    """A run that was stopped and resumed is the run that was never stopped, with classes, mirrors and a warm-up."""
    words = (*TINY, "dataset.conditional=true", "dataset.flip=true", "critic_warmup={updates: 3, steps: 1}")
    run("wgan-train", *words, "out=whole", cwd=tmp_path)
    run("wgan-train", *words, "max_steps=2", "out=part", cwd=tmp_path)
    run("wgan-train", "resume=part", "max_steps=null", cwd=tmp_path)
    assert results(tmp_path / "part", but={"samples/last.png"}) == results(tmp_path / "whole")
    films = [(tmp_path / name / "samples/progress.gif").read_bytes() for name in ("part", "whole")]
    assert films[0] == films[1]
    with Image.open(tmp_path / "whole/samples/epoch_0002.png") as grid:
        assert grid.height == 10 * 10 + 2  # a class a row
