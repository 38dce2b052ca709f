"""What Hydra gives to the commands: help, configurations, completion, own options, and features of its jobs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tests.commands import compose, environment, names, run, tree
from wgan_cli.networks import GENERATORS
from wgan_cli.settings import GROUPS

# Information, without torch.


def test_version(tmp_path: Path) -> None:
    for program in ("wgan-train", "wgan-sample"):
        assert run(program, "--version", cwd=tmp_path).out.startswith("wgan-cli 0.")


def test_help_lists_every_group_and_explains_every_setting(tmp_path: Path) -> None:
    for line in ("wgan-train", "wgan-train experiment=wgan_gp_mnist", "wgan-sample"):
        program, *words = line.split()
        page = run(program, *words, "--help", cwd=tmp_path).out
        lines = [text for text in page.splitlines() if re.match(r" *[a-z]\w+: (?!\w+: )", text)]
        groups = [text for text in lines if text.partition(":")[0] in GROUPS]
        settings = [text for text in lines if text not in groups and not re.match(r" *(name|modes): ", text)]
        assert len(groups) == (0 if program == "wgan-sample" else len(GROUPS))
        assert len(settings) > 10
        assert [text for text in settings if "  # " not in text] == []
    page = run("wgan-train", "--help", cwd=tmp_path).out
    for key in compose():
        assert f"\n{key}:" in page
    for example in ("wgan-train dataset=mnist loss=hinge", "resume=", "wasserstein_gp", "dry_run=true"):
        assert example in page
    assert not names(tmp_path)


def test_help_for_an_option_shows_its_settings_only(tmp_path: Path) -> None:
    said = run("wgan-train", "generator=mlp", "generator.latent_dim=7", "--help", cwd=tmp_path).out.splitlines()
    assert said[0] == "generator=mlp"
    assert said[1].startswith("  latent_dim: 7  # ")
    assert {line.split(":")[0].strip() for line in said[1:]} == compose("generator=mlp")["generator"].keys() - {"name"}
    several = run("wgan-train", "-h", "critic=resnet", "-m", "loss=hinge,minimax", "constraint=clip", cwd=tmp_path)
    assert [line for line in several.out.splitlines() if not line.startswith("  ")] == [
        "critic=resnet",
        "constraint=clip",
    ]


@pytest.mark.parametrize("words", [("--help",), ("-m", "n_critic=0,-1")])
def test_quick_answers_do_not_import_torch(words: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys; from wgan_cli.cli.explain import run_command; from wgan_cli.cli.train import train; "
        "run_command(train, sys.argv[1:]); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, env=environment(tmp_path), check=True)


def test_the_configuration_that_is_shown(tmp_path: Path) -> None:
    said = run("wgan-train", "experiment=wgan_gp_mnist", "optimizer=rmsprop", "--cfg", "job", cwd=tmp_path).out
    assert yaml.safe_load(said)["optimizer"] == compose("optimizer=rmsprop")["optimizer"]
    assert (
        run("wgan-train", "--cfg=job", "--package", "loss", cwd=tmp_path).out == "# @package loss\nname: wasserstein\n"
    )
    assert "num_images: 7" in run("wgan-sample", "num_images=7", "--cfg", "job", cwd=tmp_path).out
    assert "job_logging" in run("wgan-train", "--cfg", "hydra", cwd=tmp_path).out
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wgan-train loss=wass", {"loss=wasserstein", "loss=wasserstein_gp"}),
        ("wgan-train -m generator=", {f"generator={name}" for name in GENERATORS}),
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


def find_root(tiny: tuple[str, ...]) -> str:
    return next(word for word in tiny if word.startswith("dataset.root=")).partition("=")[2]


@pytest.fixture
def options(tiny: tuple[str, ...], tmp_path: Path) -> Path:
    """A folder with the user's own options for three groups."""
    for name, text in {
        "dataset/few.yaml": f"name: image_folder\nroot: {find_root(tiny)}\nlimit: 24  # a few\nseed: 3\n",
        "optimizer/slow.yaml": "name: adam\nlearning_rate: 1.0e-6\n",
        "experiment/quick.yaml": (
            "# @package _global_\ndefaults:\n  - override /loss: hinge\n  - override /constraint: clip\n"
            "  - override /dataset: few\nepochs: 3\nbatch_size: 8\ndataset: {image_size: 8}\n"
            "generator: {width: 4}\ncritic: {width: 4}\n"
        ),
    }.items():
        path = tmp_path / "my" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.slow
def test_own_options(options: Path) -> None:
    words = ("--config-dir", "my", "experiment=quick", "optimizer=slow", "device=cpu", "out=run")
    shown = yaml.safe_load(run("wgan-train", *words, "--cfg", "job", cwd=options).out)
    run("wgan-train", *words, cwd=options)
    config = yaml.safe_load((options / "run/config.yaml").read_text())
    for group, name in {"loss": "hinge", "constraint": "clip", "optimizer": "adam", "dataset": "image_folder"}.items():
        assert shown[group]["name"] == config[group]["name"] == name
    assert (config["epochs"], config["optimizer"]["learning_rate"], config["dataset"]["seed"]) == (3, 1e-6, 3)
    assert shown["optimizer"] == {"name": "adam", "learning_rate": 1e-6}
    before = tree(options)
    swept = ("--config-dir=my", "-m", "experiment=quick", "constraint=clip,none", "epochs=4", "dry_run=true", "out=x")
    said = run("wgan-train", *swept, cwd=options).out
    assert ("constraint clip" in said, "constraint none" in said, said.count(" 12 steps;")) == (True, True, 2)
    assert tree(options) == before


def test_own_options_in_the_help(options: Path) -> None:
    page = run("wgan-train", "--config-dir", "my", "--help", cwd=options).out
    assert "dataset: celeba, cifar10, fashion_mnist, few, glyphs" in page
    said = run("wgan-train", "--config-dir", "my", "dataset=few", "--help", cwd=options).out
    assert "  limit: 24  # a few\n" in said


# Features of jobs: the same for one run and for each job of a sweep.


class Note(Callback):
    """Notes what happens to jobs. The test names it in ``hydra.callbacks``."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def _note(self, *words: object) -> None:
        with self._file.open("a") as file:
            print(*words, file=file)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._note("start", config.seed)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self._note("end", config.seed, job_return.status.name)


@pytest.mark.slow
def test_callbacks(tiny: tuple[str, ...], tmp_path: Path) -> None:
    note = tmp_path / "note"
    words = (*tiny, "epochs=1", f"+hydra.callbacks.note._target_={__name__}.Note", f"+hydra.callbacks.note.file={note}")
    run("wgan-train", *words, "out=run", "batch_size=41", cwd=tmp_path, code=2)
    run("wgan-train", *words, "-m", "out=sweep", "batch_size=41,8", "seed=1", cwd=tmp_path, code=2)
    assert note.read_text().splitlines() == [
        "start 0", "end 0 FAILED", "start 1", "end 1 FAILED", "start 1", "end 1 COMPLETED"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "folders"), [((), ("out",)), (("-m", "seed=1,2"), ("out/0", "out/1"))])
def test_variables_and_the_working_directory_of_jobs(
    mode: tuple[str, ...], folders: tuple[str, ...], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """Paths stay relative to where the user is, even if Hydra changes the working directory."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here/images").symlink_to(find_root(tiny))
    words = ("+hydra.job.env_set.IMAGES=images", "dataset.root=${oc.env:IMAGES}", "hydra.job.chdir=true", "out=../out")
    run("wgan-train", *tiny, *mode, *words, "epochs=1", cwd=tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"here", "out"}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["images"]
    for folder in folders:
        assert (tmp_path / folder / "checkpoints/epoch_0001.safetensors").is_file()
    if not mode:
        run("wgan-train", "resume=../out", "epochs=2", "hydra.job.chdir=true", cwd=tmp_path / "here")
        assert (tmp_path / "out/checkpoints/epoch_0002.safetensors").is_file()
