"""Mistakes, through the real commands: exit code 2, two lines that help, and nothing on the disk."""

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import TINY, forked, tree

# What was typed, and what the message must hold: the key and the value as typed, and what would be allowed.
# The folders and files that are named lie there: see `world`.
Case = tuple[tuple[str, ...], tuple[str, ...]]
TRAIN: dict[str, Case] = {
    # Keys and options that do not exist: Hydra's part, without torch.
    "unknown option": (("loss=hing",), ("loss=hing", "did you mean hinge?", "wasserstein_gp")),
    "unknown option of a network": (("generator=unet",), ("generator=unet", "dcgan, dcgan_5x5, mlp, resnet")),
    "unknown dataset": (("dataset=mnst",), ("dataset=mnst", "did you mean mnist?", "image_folder")),
    "unknown experiment": (("experiment=wgan_papr",), ("experiment=wgan_papr", "did you mean wgan_paper?")),
    "unknown group": (("lose=hinge",), ("lose", "did you mean loss?")),
    "unknown key": (("n_critc=5",), ("n_critc", "did you mean n_critic?", "batch_size")),
    "unknown key with +": (("+n_critc=5",), ("n_critc", "did you mean n_critic?", "batch_size")),
    "unknown key with ++": (("++n_critc=5",), ("n_critc", "did you mean n_critic?", "batch_size")),
    "unknown key in a group": (("critic.widht=8",), ("critic.widht", "did you mean width?", "normalization")),
    "unknown key in a group with +": (("+critic.widht=8",), ("critic.widht", "did you mean width?", "initialization")),
    "a key of another option": (("constraint.weight=5",), ("constraint.weight", "clip_value")),
    "a dotted path to a class": (("+loss._target_=os.system",), ("loss._target_", "no such setting")),
    "a cadence's typo": (("checkpoint.evry=2",), ("checkpoint.evry", "did you mean every?")),
    "a setting of a group": (("width=8",), ("width: no such", "did you mean generator.width or critic.width?")),
    "the initials of one": (("lr=0.1",), ("lr: no such setting", "did you mean optimizer.learning_rate?")),
    "added twice": (("+epochs=3",), ("epochs",)),
    "no recipe at all": (("experiment=null",), ("experiment=null", "wgan_mlp", "without it there is no recipe")),
    "a number for an option": (("loss=1",), ("loss=1", "hinge, least_squares", "without it it is the usual")),
    "no option in a sweep": (("-m", "dataset=glyphs,null"), ("dataset=glyphs,null", "is no name of an option")),
    "nothing that a pattern matches": (("-m", "loss=glob(x*)"), ("loss=glob(x*)", "no such option")),
    "an interval": (("-m", "n_critic=interval(1,2)"), ("n_critic=interval(1,2)", "n_critic=1,2")),
    "a sweep that is said otherwise": (("hydra.mode=MULTIRUN", "loss=glob(x*)"), ("loss=glob(x*)",)),
    "no Hydra": (("hydra=null",), ("hydra=null", "is no name of an option")),
    "a flag without its value": (("--cfg",), ("--cfg", "one argument")),
    "a flag's other value": (("--cfg", "jobs"), ("--cfg", "jobs", "hydra")),
    "a flag that goes with another": (("--resolve",), ("--resolve", "--cfg")),
    "no shell": (("--shell-completion",), ("--shell-completion", "install=SHELL")),
    "a setting of a part that has none": (("loss.foo=1",), ("loss.foo: no such setting", "none in loss")),
    "a recipe that is no text": (("--config-dir=mine", "experiment=bin"), ("--config-dir mine", "no UTF-8 text")),
    "a recipe added": (("+experiment=wgan_mlp",), ("+experiment=wgan_mlp", "without the +")),
    "two flags that ask for other things": (("-m", "--cfg", "job"), ("-m and --cfg", "one of these")),
    "a run without end": (("epochs=4000000000000000000",), ("epochs=4000000000000000000", "from 1 to 1000000000")),
    "BatchNorm under a penalty": (
        (
            "dataset=mnist",
            "dataset.root=nowhere",
            "dataset.image_size=32",
            "critic.normalization=batch",
            "constraint=gradient_penalty",
        ),
        ("critic.normalization=batch", "use critic.normalization=layer or none"),  # before any data is fetched
    ),
    "a key removed": (("~epochs",), ("epochs", "a whole number from 1 to 1000000000")),
    # How things are written.
    "dashes": (("--n_critic", "5"), ("--n_critic", "n_critic=")),
    "dashes and equals": (("--n-critic=5",), ("--n-critic", "n_critic=5")),
    "no equals": (("n_critic", "5"), ("n_critic", "key=value")),
    "an empty word": (("",), ("''", "key=value")),
    "several values without -m": (("loss=wasserstein,hinge",), ("loss=wasserstein,hinge", "-m")),
    "several numbers without -m": (("n_critic=1,5",), ("n_critic=1,5", "-m")),
    "an open bracket": (("optimizer.betas=[0.5",), ("optimizer.betas=[0.5", "key=value")),
    "an interpolation to nowhere": (("epochs=${nope}",), ("nope",)),
    "no such config dir": (("--config-dir", "nope"), ("--config-dir nope", "no such folder")),
    "no such flag": (("--mutlirun",), ("--mutlirun", "did you mean --multirun?")),
    # Sweeps: refused before the first job.
    "sweep of a misspelt option": (("-m", "loss=wasserstein,hing"), ("loss=hing", "did you mean hinge?")),
    "sweep of a misspelt key": (("-m", "n_critc=1,5"), ("n_critc", "did you mean n_critic?")),
    # Values of the top level: checked without torch.
    "n_critic of 0": (("n_critic=0",), ("n_critic=0", "a whole number of at least 1", "null")),
    "n_critic as text": (("n_critic=abc",), ("n_critic=abc", "a whole number of at least 1")),
    "n_critic as a fraction": (("n_critic=2.5",), ("n_critic=2.5", "a whole number")),
    "a warm-up as a number": (
        ("critic_warmup=5",),
        ("critic_warmup=5", "{updates: ..., steps: ..., every: ...}", "null"),
    ),
    "half a warm-up": (("critic_warmup={steps: 3}",), ("critic_warmup.updates", "missing")),
    "a warm-up that never comes": (("critic_warmup={updates: 3}",), ("critic_warmup=", "steps, every or both")),
    "a part of no warm-up": (("critic_warmup.updates=3",), ("critic_warmup.updates", "critic_warmup={updates: ...}")),
    "a warm-up every 0": (
        ("critic_warmup={updates: 3, steps: 1, every: 0}",),
        ("critic_warmup.every=0", "a whole number of at least 1 or null"),
    ),
    "generator_batch_size of 0": (("generator_batch_size=0",), ("generator_batch_size=0", "at least 1 or null")),
    "unknown schedule": (("optimizer.schedule=cosine",), ("optimizer.schedule=cosine", "constant, linear")),
    "flip as text": (("dataset.flip=maybe",), ("dataset.flip=maybe", "true or false")),
    "epochs of -1": (("epochs=-1",), ("epochs=-1", "a whole number from 1 to 1000000000")),
    "epochs of null": (("epochs=null",), ("epochs=null", "a whole number")),
    "epochs as true": (("epochs=true",), ("epochs=true", "a whole number")),
    "epochs as a list": (("epochs=[1]",), ("epochs=[1]", "a whole number")),
    "max_steps of 0": (("max_steps=0",), ("max_steps=0", "from 1 to 1000000000 or null")),
    "max_minutes of nan": (("max_minutes=nan",), ("max_minutes=nan", "a number above 0")),
    "batch_size of 0": (("batch_size=0",), ("batch_size=0", "a whole number of at least 1")),
    "clip_value of -1": (("clip_value=-1",), ("clip_value=-1", "a number above 0")),
    "clip_value of nan": (("clip_value=nan",), ("clip_value=nan", "a number above 0")),
    "clip_value of inf": (("clip_value=inf",), ("clip_value=inf", "a number above 0")),
    "seed of -1": (("seed=-1",), ("seed=-1", "from 0 to 9223372036854775807")),
    "too large a seed": (("seed=99999999999999999999",), ("seed=99999999999999999999", "from 0 to")),
    "unknown precision": (("precision=fp64",), ("precision=fp64", "auto, fp32, bf16")),
    "ema as text": (("ema=maybe",), ("ema=maybe", "true or false")),
    "log.every of 0": (("log.every=0",), ("log.every=0", "a whole number of at least 1")),
    "sample.every as a fraction": (("sample.every=1.5",), ("sample.every=1.5", "a whole number")),
    "a group as a number": (("log=5",), ("log=5", "settings of its own")),
    "no root": (("dataset=image_folder",), ("dataset.root", "must be given")),
    # Values of parts.
    "clip_value without a clip": (
        ("clip_value=0.1", "loss=hinge"),
        ("clip_value=0.1", "constraint=spectral_norm does not clip", "constraint=clip"),
    ),
    "batch_size above the data": (("batch_size=41",), ("batch_size=41", "at most the 40 training images")),
    "no CUDA": (("device=cuda",), ("device=cuda", "no CUDA device", "device=cpu")),
    "no such device": (("device=banana",), ("device=banana", "auto, cpu, cuda")),
    "too small an image": (("dataset.image_size=7",), ("dataset.image_size=7", "from 8 to 256")),
    "two channels": (("dataset.channels=2",), ("dataset.channels=2", "one of 1, 3")),
    "BatchNorm under a gradient penalty": (
        ("loss=wasserstein_gp", "critic.normalization=batch", "dataset.image_size=12"),  # at 8 there is no BatchNorm
        ("critic.normalization=batch", "critic.normalization=layer or none"),
    ),
    "unknown normalisation": (("generator.normalization=btach",), ("generator.normalization=btach", "none, batch")),
    "learning rate of nan": (("optimizer.learning_rate=nan",), ("optimizer.learning_rate=nan", "a number above 0")),
    "one beta": (("optimizer=adam", "optimizer.betas=[0.5]"), ("optimizer.betas=[0.5]", "a list of 2")),
    # Data.
    "missing image folder": (("dataset=image_folder", "dataset.root=nope"), ("dataset.root=nope", "no such folder")),
    "empty image folder": (("dataset=image_folder", "dataset.root=empty"), ("dataset.root=empty", "no images", ".png")),
    "unreadable images": (
        ("dataset=image_folder", "dataset.root=unreadable"),
        ("dataset.root=unreadable", "2 of 2 images cannot be read", "a.png", "not an image"),
    ),
    "generator batches above the data": (
        ("generator_batch_size=41",),
        ("generator_batch_size=41", "at most the 40 training images"),
    ),
    "CIFAR-10 without data or network": (
        ("dataset=cifar10", "dataset.root=nope"),
        ("dataset.root=nope", "cifar-10-python.tar.gz"),
    ),
    "CelebA without data or network": (
        ("dataset=celeba", "dataset.root=nope"),
        ("dataset.root=nope", "img_align_celeba.zip", "list_eval_partition.txt"),
    ),
    "MNIST without data or network": (
        ("dataset=mnist", "dataset.root=nope"),
        ("dataset.root=nope", "train-images-idx3-ubyte", "MNIST"),
    ),
    # Values that are written in a way nobody meant.
    "epochs of nothing": (("epochs=",), ("epochs=", "a whole number from 1 to 1000000000")),
    "a loss of nothing": (("loss=",), ("loss",)),
    "epochs of 10³⁰": ((f"epochs={10**30}",), ("epochs=1000000000000000000000000000000", "a whole number")),
    "epochs with a space": (("epochs=5 0",), ("epochs=5 0", "a whole number from 1 to 1000000000")),
    "epochs in quotes": (("epochs='5'",), ('epochs="5"', "a whole number from 1 to 1000000000")),
    "half a quote": (("dataset.root='photos",), ("dataset.root='photos", "key=value")),
    "an option in capitals": (("loss=Hinge",), ("loss=Hinge", "did you mean hinge?")),
    "spaces around equals": (("n_critic", "=", "5"), ("n_critic", "key=value")),
    # Settings of saving, of sameness, and of devices.
    "checkpoint.keep of 0": (("checkpoint.keep=0",), ("checkpoint.keep=0", "at least 1 or null")),
    "checkpoint.keep of -1": (("checkpoint.keep=-1",), ("checkpoint.keep=-1", "at least 1 or null")),
    "checkpoint.keep of all": (("checkpoint.keep=all",), ("checkpoint.keep=all", "at least 1 or null")),
    "checkpoint.every_minutes of 0": (
        ("checkpoint.every_minutes=0",),
        ("checkpoint.every_minutes=0", "a number above 0 or null"),
    ),
    "checkpoint.every_minutes as text": (
        ("checkpoint.every_minutes=abc",),
        ("checkpoint.every_minutes=abc", "a number above 0 or null"),
    ),
    "deterministic as text": (("deterministic=maybe",), ("deterministic=maybe", "true or false")),
    "dry_run as a number": (("dry_run=1",), ("dry_run=1", "true or false")),
    "a hundredth GPU": (("device=cuda:99",), ("device=cuda:99", "no CUDA device", "device=cpu")),
    "a GPU without a number": (("device=cuda:",), ("device=cuda:", "auto, cpu, cuda")),
    # Places of images that are none.
    "a file as image folder": (
        ("dataset=image_folder", "dataset.root=text.pt"),
        ("dataset.root=text.pt", "not a folder"),
    ),
    "a pipe as image folder": (("dataset=image_folder", "dataset.root=pipe"), ("dataset.root=pipe", "not a folder")),
    "an image folder in a file": (
        ("dataset=image_folder", "dataset.root=text.pt/photos"),
        ("dataset.root=text.pt/photos", "no such folder"),
    ),
    # Folders of runs.
    "resume of nothing there": (("resume=nope",), ("resume=nope", "does not exist")),
    "resume of a file": (
        ("resume=run/checkpoints/last.pt",),
        ("resume=run/checkpoints/last.pt", "is a file;"),
    ),
    "resume of a pipe": (("resume=pipe",), ("resume=pipe", "is a file; give the folder")),
    "resume of nobody": (("resume='~nobody_of_that_name'",), ("resume=~nobody_of_that_name", "is no path")),
    "resume of a sweep": (("resume=sweep",), ("resume=sweep", "hydra.sweep.dir=sweep resume=auto")),
    "resume of a name that is no file's": ((f"resume={'a' * 5000}",), ("resume=aaa", "is no path", "too long")),
    "a number of 5,000 digits": ((f"epochs={'9' * 5000}",), ("epochs", "5,000 digits")),
    "a number of 5,000 digits in a sweep": (("-m", f"epochs=1,{'9' * 5000}"), ("epochs", "digits")),
    "an umlaut that is not quoted": (
        ("dataset=image_folder", "dataset.root=läufe"),
        ("'dataset.root=\"läufe\"'",),
    ),
    "resume with a setting that other options have": (
        ("resume=run", "generator.hidden_sizes=[3]"),
        ("resume=run", "keeps its generator.hidden_sizes"),
    ),
    "resume of nothing": (("resume=",), ('resume=""', "names nothing")),
    "resume with a setting that there is not": (("resume=run", "lr=1"), ("lr: no such", "optimizer.learning_rate")),
    "resume with --cfg": (("resume=run", "--cfg", "job"), ("resume=run", "in its checkpoint")),
    "sweep of a run that goes on": (("-m", "resume=run", "seed=1,2"), ("resume=run", "keeps its seed")),
    "resume of two lines": (('resume="no\npe"',), ("resume=", "does not exist")),
    **{
        f"resume with another {key}": (("resume=run", word), ("resume=run", f"keeps its {key}", "epochs, max_steps"))
        for key, word in {
            "batch_size": "batch_size=4",
            "seed": "seed=1",
            "dataset": "dataset=mnist",
            "dataset.limit": "dataset.limit=20",
            "n_critic": "n_critic=3",
            "hydra.run.dir": "hydra.run.dir=other",
            "experiment": "experiment=wgan_mlp",
            "generator.width": "generator.width=8",
            "ema": "ema=false",
            "deterministic": "deterministic=true",
        }.items()
    },
    "resume of an empty folder": (("resume=empty",), ("resume=empty", "no checkpoints/last.pt")),
    "resume of a damaged run": (("resume=damaged",), ("resume=damaged", "damaged")),
    "resume with another loss": (("resume=run", "loss=hinge"), ("resume=run", "keeps its loss", "epochs, max_steps")),
    "resume with another width": (("resume=run", "critic.width=8"), ("resume=run", "keeps its critic.width")),
    "a folder with a run in it": (("hydra.run.dir=run",), ("hydra.run.dir=run", "resume=run")),
}
ALONE = ("resume of", "resume with", "a folder with a run", "sweep of")  # these are told nothing more

SAMPLE: dict[str, Case] = {
    "no checkpoint": ((), ("checkpoint", "must be given")),
    "text": (("checkpoint=text.pt",), ("checkpoint=text.pt", "is no checkpoint")),
    "a tensor": (("checkpoint=tensor.pt",), ("checkpoint=tensor.pt", "is no checkpoint of wgan-train")),
    "unknown mode": (("checkpoint=run", "mode=gird"), ("mode=gird", "grid, images, interpolation, npz")),
    "no images": (("checkpoint=run", "num_images=0"), ("num_images=0", "from 1 to 10000000")),
    "a fraction as seed": (("checkpoint=run", "seed=0.5"), ("seed=0.5", "a whole number")),
    "unknown key of wgan-sample": (("checkpoint=run", "count=5"), ("count", "num_images")),
    "dashes for wgan-sample": (("--checkpoint", "run"), ("--checkpoint", "checkpoint=")),
    "wrong suffix": (("checkpoint=run", "out=x.jpg"), ("out=x.jpg", ".png")),
    "a checkpoint that is not there": (("checkpoint=nope",), ("checkpoint=nope", "does not exist")),
    "a checkpoint of nothing": (("checkpoint=",), ("checkpoint",)),
    "a pipe as checkpoint": (("checkpoint=pipe",), ("checkpoint=pipe", "it is no file")),
    "an empty folder as checkpoint": (("checkpoint=empty",), ("checkpoint=empty", "no checkpoints/last.pt")),
    "a sample's seed of -1": (("checkpoint=run", "seed=-1"), ("seed=-1", "from 0 to 9223372036854775807")),
    "too many images": (("checkpoint=run", "num_images=10000001"), ("num_images=10000001", "from 1 to 10000000")),
    "classes where there are none": (("checkpoint=run", "classes=[99]"), ("classes=[99]", "trained without classes")),
    "a class of -1": (("checkpoint=run", "classes=[-1]"), ("classes", "a whole number of at least 0")),
    "a class without brackets": (("checkpoint=run", "classes=3"), ("classes=3", "a list")),
    "truncation of 0": (("checkpoint=run", "truncation=0"), ("truncation=0", "of at least 0.01")),
    "one stop": (("checkpoint=run", "mode=interpolation", "stops=1"), ("stops=1", "from 2 to 10000")),
    "latents that are none": (("checkpoint=run", "latents=text.pt"), ("latents=text.pt", "no .npz file")),
    "latents that are not there": (("checkpoint=run", "latents=nope.npz"), ("latents=nope.npz", "No such file")),
    "unknown export": (("checkpoint=run", "export=onxx"), ("export=onxx", "onnx, torchscript")),
    "export beside images": (("checkpoint=run", "export=onnx", "num_images=5"), ("num_images=5", "export=onnx")),
    "out in a file": (("checkpoint=run", "out=text.pt/x.png"), ("out=text.pt/x.png", "cannot be written")),
    "a folder as out": (("checkpoint=run", "out=empty.png"), ("out=empty.png", "is a folder")),
    "out of nobody": (
        ("checkpoint=run", "out='~nobody_of_that_name/x.png'"),
        ("out=~nobody_of_that_name", "is no path"),
    ),
    "a checkpoint of nobody": (
        ("checkpoint='~nobody_of_that_name'",),
        ("checkpoint=~nobody_of_that_name", "is no path"),
    ),
    "a home that is not quoted": (("checkpoint=run", "out=~/x.png"), ("out=~/x.png", "'out=\"~/x.png\"'")),
    "a hundredth GPU for wgan-sample": (("checkpoint=run", "device=cuda:99"), ("device=cuda:99", "device=cpu")),
    "a sweep of wgan-sample that is said otherwise": (
        ("checkpoint=run", "hydra.mode=MULTIRUN"),
        ("one checkpoint at a time",),
    ),
    "classes without brackets": (("checkpoint=run", "classes=3,7"), ("classes=3,7", "classes=[...]")),
    "an out of nothing": (("checkpoint=run", "out="), ('out=""', "names nothing")),
    "a sweep of wgan-sample": (("-m", "checkpoint=run", "seed=1,2"), ("-m", "one checkpoint at a time")),
    "a full folder": (("checkpoint=run", "mode=images", "out=unreadable"), ("out=unreadable", "give a new folder")),
}
MISTAKES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    **{name: ("wgan-train", *case) for name, case in TRAIN.items()},
    **{name: ("wgan-sample", *case) for name, case in SAMPLE.items()},
}


def world(folder: Path, run: Path) -> None:
    """What a user may have lying around."""
    shutil.copytree(run, folder / "run")
    (folder / "empty").mkdir()
    (folder / "empty.png").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "unreadable").mkdir()
    (folder / "mine" / "experiment").mkdir(parents=True)
    (folder / "mine" / "experiment" / "bin.yaml").write_bytes(b"\xff\xfe")
    (folder / "unreadable" / "a.png").write_text("no picture")
    (folder / "unreadable" / "b.jpg").write_bytes(b"")
    (folder / "text.pt").write_text("hello")
    torch.save(torch.zeros(3), folder / "tensor.pt")
    whole = (run / "checkpoints" / "last.pt").read_bytes()
    (folder / "sweep").mkdir()
    (folder / "sweep" / "multirun.yaml").write_text("")
    (folder / "damaged" / "checkpoints").mkdir(parents=True)
    (folder / "damaged" / ".lock").write_text("")  # as a run leaves it
    (folder / "damaged" / "checkpoints" / "last.pt").write_bytes(whole[: len(whole) // 2])


def make(name: str, folder: Path, run: Path) -> tuple[Any, ...]:
    """Make a mistake; return what was said, and the folder before and after."""
    program, words, _ = MISTAKES[name]
    world(folder, run)
    before = tree(folder)
    tiny = TINY if program == "wgan-train" and not name.startswith(ALONE) else ()
    said = forked(program, *tiny, *words, cwd=folder, CUDA_VISIBLE_DEVICES="")
    return said, before, tree(folder)


@pytest.fixture(scope="module")
def answers(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pool: ThreadPoolExecutor,
    runs: Mapping[str, Path],
) -> dict[str, "Future[tuple[Any, ...]]"]:
    """All selected mistakes, made two at a time."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    return {
        name: pool.submit(make, name, tmp_path_factory.mktemp("mistake"), runs["half"])
        for name in MISTAKES
        if name in wanted
    }


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str, answers: Mapping[str, "Future[tuple[Any, ...]]"]) -> None:
    said, before, after = answers[name].result()
    program, _, expected = MISTAKES[name]
    assert said.code == 2, said.err
    assert "results" not in said.out  # the plan's last line
    assert said.err.startswith(f"{program}: ")
    assert len(said.err.splitlines()) <= 3
    assert "Traceback" not in said.err
    for words in expected:
        assert words in said.err
    assert after == before
