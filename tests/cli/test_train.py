import contextlib
import os
import pty
import re
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.builders import bits
from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, answer, checkpoint, command, environment, names, results, run, start, tree
from wgan_cli.constraints import Clip, GradientPenalty
from wgan_cli.networks import GENERATORS
from wgan_cli.settings import CONF_DIR

# Words that look at the composed configuration and never import torch.
COMPOSED = ("--cfg", "job")
CLIP = yaml.safe_load((CONF_DIR / "constraint/clip.yaml").read_text(encoding="utf-8"))["clip_value"]


def config(*words: str, cwd: Path) -> dict[str, object]:
    """The configuration that a command line composes."""
    composed: dict[str, object] = yaml.safe_load(run("wgan-train", *words, *COMPOSED, cwd=cwd).out)
    return composed


@pytest.mark.slow
def test_a_run_leaves_these_files(runs: FinishedRuns) -> None:
    assert names(runs["whole"]) == {
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
        ".lock",
        "checkpoints/epoch_0001.pt",
        "checkpoints/epoch_0002.pt",
        "checkpoints/last.pt",
        "metrics.csv",
        "samples/epoch_0001.png",
        "samples/epoch_0002.png",
        "samples/progress.gif",
        "samples/real.png",
        "timing.csv",
        "wgan-train.log",
    }
    rows = (runs["whole"] / "metrics.csv").read_text().splitlines()
    assert rows[0].split(",")[:3] == ["step", "epoch", "critic_updates"]
    assert [row.split(",")[:3] for row in rows[1:]] == [["2", "1", "4"], ["4", "2", "8"], ["5", "2", "10"]]
    timing = (runs["whole"] / "timing.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in timing] == [row.split(",")[:3] for row in rows]
    with Image.open(runs["whole"] / "samples" / "epoch_0002.png") as grid:
        assert grid.size == (8 * 10 + 2, 8 * 10 + 2)
        assert np.asarray(grid).std() > 0


@pytest.mark.slow
def test_the_plan_and_the_log(runs: FinishedRuns) -> None:
    said = runs.answer("whole")
    logged = (runs["whole"] / "wgan-train.log").read_text()
    assert said.err == ""
    for words in ("cpu, 1 threads, fp32", "glyphs, 40 to train on, 1×8×8, batches of 8", "5 steps in all", "whole"):
        assert words in said.out
        assert words in logged
    assert "finished after step 5; draw images with: wgan-sample checkpoint=whole" in said.out.splitlines()[-1]
    assert said.out.count("wasserstein_estimate") == 3  # a line for each row, where there is no terminal for a bar


@pytest.mark.slow
def test_the_same_run_again_gives_the_same_bits(runs: FinishedRuns) -> None:
    assert results(runs["again"]) == results(runs["whole"])
    assert (
        checkpoint(runs["again"] / "checkpoints/last.pt")["config"]
        == checkpoint(runs["whole"] / "checkpoints/last.pt")["config"]
    )


@pytest.mark.slow
def test_another_seed_gives_another_run_on_the_same_data(runs: FinishedRuns) -> None:
    one, other = results(runs["whole"]), results(runs["other_seed"])
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] == other[name]} == {"samples/real.png"}


@pytest.mark.slow
def test_the_values_in_force_are_kept(runs: FinishedRuns) -> None:
    """clip_value was null: what it came to is in the folder and in the checkpoint, as plain data."""
    noted = yaml.safe_load((runs["whole"] / ".hydra/config.yaml").read_text())
    assert (noted["n_critic"], noted["clip_value"], noted["seed"], noted["batch_size"]) == (2, CLIP, 0, 8)
    assert noted["constraint"] == {"name": "clip", "clip_value": CLIP}
    saved = checkpoint(runs["whole"] / "checkpoints/last.pt")
    assert saved["config"] == noted
    assert saved["versions"].keys() >= {"wgan-cli", "torch"}
    overrides = yaml.safe_load((runs["whole"] / ".hydra/overrides.yaml").read_text())
    assert sorted(overrides) == sorted((*TINY, "hydra.run.dir=whole"))


@pytest.mark.slow
def test_an_epoch_checkpoint_is_the_state_at_its_end(runs: FinishedRuns) -> None:
    first, last = (checkpoint(runs["whole"] / "checkpoints" / f"epoch_000{n}.pt")["state"] for n in (1, 2))
    assert (first["critic_updates"], first["step"], first["critic_updates_in_step"]) == (5, 2, 1)
    assert (last["critic_updates"], last["step"], last["critic_updates_in_step"]) == (10, 5, 0)
    assert bits(first["generator"]) != bits(last["generator"])
    newest = runs["whole"] / "checkpoints" / "last.pt"
    assert newest.samefile(newest.with_name("epoch_0002.pt"))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_with_3(tmp_path: Path) -> None:
    words = (*TINY, "n_critic=null", "loss=wasserstein_gp", "optimizer.learning_rate=1e30", "hydra.run.dir=run")
    said = run("wgan-train", *words, cwd=tmp_path, code=3)
    assert said.err.startswith("wgan-train: in step ")
    assert "not finite" in said.err
    assert "The last good checkpoint is run/checkpoints/last.pt." in said.err
    assert len(said.err.splitlines()) <= 3
    state = checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]
    assert (state["step"], state["critic_updates"]) == (0, 0)  # as it began
    assert "not finite" in (tmp_path / "run" / "wgan-train.log").read_text()
    noted = yaml.safe_load((tmp_path / "run" / ".hydra/config.yaml").read_text())
    assert noted["n_critic"] == GradientPenalty.usual_n_critic


# What informs, composes and completes: without torch.


def test_version(tmp_path: Path) -> None:
    for program in ("wgan-train", "wgan-sample"):
        assert run(program, "--version", cwd=tmp_path).out.startswith("wgan-cli 0.")


def test_help_names_every_group_and_key(tmp_path: Path) -> None:
    said = run("wgan-train", "--help", cwd=tmp_path).out
    for group in ("dataset", "generator", "critic", "loss", "constraint", "optimizer"):
        assert f"\n{group}: " in said
    for key, value in config(cwd=tmp_path).items():
        assert f"\n{key}:" in said, value
    for words in ("wgan-train dataset=mnist loss=hinge", "resume=", "wasserstein_gp", "dry_run=true"):
        assert words in said
    assert not names(tmp_path)


def test_help_shows_what_was_chosen(tmp_path: Path) -> None:
    said = run("wgan-train", "loss=hinge", "--help", cwd=tmp_path).out
    assert "name: spectral_norm" in said
    assert "name: rmsprop" not in said
    said = run("wgan-train", "-h", "generator=mlp", "batch_size=3", "-m", "loss=hinge,minimax", cwd=tmp_path).out
    assert "\n  hidden_sizes: [256, 512, 1024]" in said
    assert "\nbatch_size: 3  # images in an update\n" in said


def test_help_explains_every_setting(tmp_path: Path) -> None:
    """Also those that have the same name in several groups."""
    for program, words in (("wgan-train", ()), ("wgan-train", ("dataset=image_folder",)), ("wgan-sample", ())):
        said = run(program, *words, "--help", cwd=tmp_path).out.partition("(key=value):")[2]
        lines = [line for line in said.splitlines() if re.match(r" *(?!name|modes)\w+: ", line)]
        assert len(lines) > 10
        assert [line for line in lines if "  # " not in line] == []
    said = run("wgan-train", "--help", cwd=tmp_path).out
    for line in ("every: 100  # steps", "every: 1  # epochs between grids", "every: 1  # epochs between checkpoints"):
        assert f"\n  {line}" in said


def test_the_configuration_that_is_shown_is_the_runs(tmp_path: Path) -> None:
    """Beside a recipe, where Hydra's own would be another: an optimizer of the command line's counts whole."""
    words = ("experiment=wgan_gp_mnist", "optimizer=rmsprop", "critic=mlp")
    shown, usual = config(*words, cwd=tmp_path), config("optimizer=rmsprop", "critic=mlp", cwd=tmp_path)
    assert (shown["optimizer"], shown["critic"]) == (usual["optimizer"], usual["critic"])
    assert shown["batch_size"] == config("experiment=wgan_gp_mnist", cwd=tmp_path)["batch_size"] != usual["batch_size"]
    said = run("wgan-train", "--cfg=job", "--package", "loss", cwd=tmp_path).out
    assert said == "# @package loss\nname: wasserstein\n"


def test_a_terminal_that_has_not_all_letters(tmp_path: Path) -> None:
    said = answer(start("wgan-train", *TINY, "dry_run=true", cwd=tmp_path, PYTHONIOENCODING="ascii")).out
    assert r"glyphs, 40 to train on, 1\xd78\xd78, batches of 8" in said


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wgan-train loss=wass", {"loss=wasserstein", "loss=wasserstein_gp"}),
        ("wgan-train -m generator=", {f"generator={name}" for name in GENERATORS}),
        ("wgan-train constraint=cl", {"constraint=clip"}),
        ("wgan-train constraint.", {"constraint.name=", "constraint.clip_value="}),
        ("wgan-train dataset.im", {"dataset.image_size="}),
        ("wgan-sample num", {"num_images="}),
    ],
)
def test_completion(line: str, offered: set[str], tmp_path: Path) -> None:
    program = line.split()[0]
    said = run(program, "-sc", "query=bash", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert set(said.out.split()) == offered


def test_completion_can_be_installed(tmp_path: Path) -> None:
    assert "complete -o nospace" in run("wgan-train", "-sc", "install=bash", cwd=tmp_path).out


# A user's own options.


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """A folder with an option for three groups, one of which the program has no option for."""
    for name, text in {
        "dataset/few.yaml": "name: glyphs\nimage_size: 8\nchannels: 1\nlimit: 24\nseed: 3\n",
        "optimizer/slow.yaml": "name: adam\nlearning_rate: 1.0e-6\n",
        "experiment/quick.yaml": (
            "# @package _global_\ndefaults:\n  - override /loss: hinge\n  - override /constraint: clip\n"
            "  - override /dataset: few\nepochs: 3\nbatch_size: 8\ngenerator: {width: 4}\ncritic: {width: 4}\n"
        ),
    }.items():
        path = tmp_path / "my" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def test_own_options_compose(options: Path) -> None:
    mine = config("--config-dir", "my", "dataset=few", "optimizer=slow", "clip_value=0.5", cwd=options)
    assert mine["dataset"] == {"name": "glyphs", "image_size": 8, "channels": 1, "limit": 24, "seed": 3}
    assert mine["optimizer"] == {"name": "adam", "learning_rate": 1e-6}
    assert mine["clip_value"] == 0.5
    usual = config(cwd=options)
    assert isinstance(usual["dataset"], Mapping)
    assert usual["dataset"]["image_size"] == 28


def test_own_options_are_listed_and_completed(options: Path) -> None:
    assert (
        "dataset: celeba, cifar10, fashion_mnist, few, glyphs"
        in run("wgan-train", "--config-dir", "my", "--help", cwd=options).out
    )


def test_a_recipe_chooses_and_the_command_line_wins(options: Path) -> None:
    recipe = config("--config-dir=my", "experiment=quick", cwd=options)
    for group, name in {"loss": "hinge", "constraint": "clip", "optimizer": "adam", "dataset": "glyphs"}.items():
        part = recipe[group]
        assert isinstance(part, Mapping)
        assert part["name"] == name
    assert recipe["epochs"] == 3
    changed = config("--config-dir=my", "experiment=quick", "constraint=none", "epochs=4", cwd=options)
    assert (changed["constraint"], changed["epochs"]) == ({"name": "none"}, 4)


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_done_and_does_nothing(options: Path) -> None:
    before = tree(options)
    said = run("wgan-train", "--config-dir", "my", "experiment=quick", "dry_run=true", "device=cpu", cwd=options).out
    for words in (
        "glyphs, 24 to train on, 1×8×8, batches of 8",
        f"hinge, constraint clip (clip_value {CLIP})",
        "adam (learning_rate ",
        f"3, of 3 critic updates each; {9 // Clip.usual_n_critic} steps in all",
    ):
        assert words in said
    assert tree(options) == before


def test_on_a_terminal_rows_go_to_the_log_and_the_bar_only(tmp_path: Path) -> None:
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 160))
    process = subprocess.Popen(
        [command("wgan-train"), *TINY, "hydra.run.dir=run"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=there,
        text=True,
    )
    os.close(there)
    bar = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while piece := os.read(here, 4096):
            bar += piece
    os.close(here)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "finished after step" in out
    assert "wasserstein_estimate" not in out
    assert "wasserstein_estimate" in (tmp_path / "run" / "wgan-train.log").read_text()
    assert b"images/s" in bar
    assert b"W=" in bar


@pytest.mark.slow
def test_a_recipe_and_what_the_command_line_says_beside_it(tmp_path: Path) -> None:
    words = ("dataset=glyphs", "dataset.limit=64", "batch_size=8", "max_steps=2", "device=cpu", "hydra.run.dir=run")
    run("wgan-train", "experiment=pytorch_gan_relativistic", "loss=relativistic_average", *words, cwd=tmp_path)
    saved = checkpoint(tmp_path / "run/checkpoints/last.pt")
    config = saved["config"]
    assert (config["loss"]["name"], config["constraint"]["name"]) == ("relativistic_average", "none")
    assert (config["generator"]["name"], config["generator"]["normalization_eps"]) == ("upsample_conv", 0.8)
    assert (config["batch_size"], config["epochs"], saved["images"]["shape"]) == (8, 200, (1, 32, 32))
    assert saved["state"]["step"] == 2
    run("wgan-train", "resume=run", "max_steps=3", cwd=tmp_path)
    assert checkpoint(tmp_path / "run/checkpoints/last.pt")["state"]["step"] == 3


@pytest.mark.slow
def test_training_with_classes_goes_on_to_the_bit(tmp_path: Path) -> None:
    words = (*TINY, "dataset.conditional=true", "dataset.flip=true", "critic_warmup={updates: 3, steps: 1}")
    run("wgan-train", *words, "hydra.run.dir=whole", cwd=tmp_path)
    run("wgan-train", *words, "max_steps=2", "hydra.run.dir=part", cwd=tmp_path)
    run("wgan-train", "resume=part", "max_steps=null", cwd=tmp_path)
    stopped = {"samples/last.png"}
    assert results(tmp_path / "part", stopped) == results(tmp_path / "whole")
    films = [(tmp_path / name / "samples/progress.gif").read_bytes() for name in ("part", "whole")]
    assert films[0] == films[1]
    with Image.open(tmp_path / "whole/samples/epoch_0002.png") as grid:
        assert grid.size == (8 * 10 + 2, 10 * 10 + 2)  # eight of each class, a class a row
