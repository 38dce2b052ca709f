"""Mistakes, through the real commands: exit code 2, a line or two that help, and nothing on the disk.

The ranges and types of single settings are held by tests/test_parameters.py.
"""

import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import FinishedRuns
from tests.commands import refuse, run, tree
from tests.data.files import photographs

# What was typed, and parts of the message. The files and folders exist: see ``world``.
COMPOSITION = {
    "loss=hing": ("loss=hing: no such option (did you mean hinge?)", "must be one of hinge, least_squares"),
    "loss=1": ("loss=1: must be one of hinge, least_squares", "leave out loss= for the default"),
    "lose=hinge": ("lose: no such setting (did you mean loss?)", "must be one of batch_size, checkpoint"),
    "n_critc=5": ("n_critc: no such setting (did you mean n_critic?)",),
    "critic.widht=8": ("critic.widht: no such setting in critic (did you mean width?)",),
    "constraint.weight=5": ("constraint.weight: no such setting in constraint; must be one of clip_value",),
    "width=8": ("width: no such setting (did you mean generator.width or critic.width?)",),
    "+loss._target_=os.system": ("loss._target_: no such setting",),
    "+epochs=3": ("epochs: already exists; leave out the +",),
    "dataset.root='???'": ("dataset.root: must be set, as dataset.root=...",),
    "epochs='${nope}'": ("'nope' not found",),
    "~epochs": ("~epochs: a setting cannot be deleted; leave it out for its default",),
    "'+hydra.callbacks.x={_target_: nope.Nope}'": ("Error locating target 'nope.Nope'\n",),
}
GRAMMAR = {
    "--n_critic 5": ("--n_critic: no such flag; write a setting as key=value: n_critic=...",),
    "mnist": ("'mnist' is not a setting; write it as key=value, such as dataset=mnist\n",),
    "run": ("'run' is not a setting; write it as key=value, such as resume=run\n",),
    "'epochs=3\r'": ("the script has Windows line ends; remove them with: sed -i 's/\\r$//' SCRIPT\n",),
    "--lr=3": ("--lr: no such flag; write a setting as key=value: optimizer.learning_rate=3\n",),
    "lr=3": ("lr: no such setting (did you mean optimizer.learning_rate?)",),
    "loss=wgan_gp": ("loss=wgan_gp: no such option (did you mean wasserstein_gp?)",),
    "'optimizer.betas=(0.5, 0.9)'": ("for a list, write 'optimizer.betas=[0.5, 0.9]'\n",),
    "''": ("'' is not a setting; write it as key=value",),
    "optimizer.betas=[0.5": ("'optimizer.betas=[0.5' is not a setting; check its signs, quotes and brackets",),
    "--mutlirun": ("--mutlirun: no such flag (did you mean --multirun?)",),
    "epochs==3": ("'epochs==3' is not a setting; check its signs",),
    "--resolve": ("--resolve and --package need --cfg",),
    "-m --cfg job": ("--multirun and --cfg cannot be combined",),
    "--shell-completion": ("--shell-completion needs install=SHELL",),
    "--config-dir nope": ("--config-dir nope: no such folder",),
    "hydra.sweep.dir=x out=y": ("hydra.sweep.dir: set the folder with out=FOLDER",),
    "hydra.output_subdir=x": ("hydra.output_subdir: set the folder with out=FOLDER",),
}
VALUES = {
    "n_critic=0": ("n_critic=0: must be a whole number from 1 to 1000000000",),
    "optimizer=adam optimizer.betas=[0.5]": ("optimizer.betas=[0.5]: must be a list of 2",),
    "critic_warmup='{updates: 3}'": ("has no effect without steps or every",),
    "batch_size=41": ("batch_size=41: must be at most 40, the number of training images",),
    "dataset=mnist dataset.root=nope dataset.image_size=32 critic.normalization=batch constraint=gradient_penalty": (
        "critic.normalization=batch: ",  # before any data is downloaded
        "use critic.normalization=layer or none",
    ),
}
SWEEPS = {
    "-m loss=wasserstein,hing": ("loss=hing: no such option (did you mean hinge?)",),
    "hydra.mode=MULTIRUN loss='glob(x*)'": ("loss=glob(x*): matches no option",),
    "-m n_critic=0,-1": ("n_critic=0: must be a whole number from 1 to 1000000000",),
    "-m seed=1,2 out=a,b": ("out: must be one folder",),
    "-m seed=1,2 'out=runs/${seed}'": ("out: must be one folder",),
    "-m seed=1,2 out=text/sweep": ("out=text/sweep: cannot be used (Not a directory)",),
}
PLACES = {
    "dataset.root=nope": ("dataset.root=nope: no such folder",),
    "dataset.root=bad": ("dataset.root=bad: 2 of 2 images cannot be read", "a.png", "not an image"),
    "dataset=mnist dataset.root=nope": ("dataset.root=nope: MNIST is missing, and the download failed",),
    "out=text": ("out=text: is a file",),
    "out=text/run": ("out=text/run: cannot be used (Not a directory)",),
    "out=\"'~nobody_of_that_name'\"": ("out=~nobody_of_that_name: is not a path",),
}
OWN_OPTIONS = {
    "--config-dir=mine loss=odd": ("loss.name=odd: no such loss; must be one of hinge",),
    "--config-dir=mine optimizer=slow": ("optimizer.rate: no such setting", "learning_rate"),
    "--config-dir=mine dataset=broken": ("mine/dataset/broken.yaml, line 2: expected the node content",),
    "--config-dir=mine experiment=nested": ("mine/experiment/nested.yaml, line 1: must be '# @package _global_'",),
    "--config-dir=mine experiment=late": ("late.yaml, line 2: '# @package _global_' must be the first line",),
    "--config-dir=mine experiment=marked": ("marked.yaml, line 1: starts with a byte order mark",),
    "--config-dir=mine experiment=short": ("mine/experiment/short.yml: must be called short.yaml\n",),
    "--config-dir=mine experiment=tab": ("experiment/tab.yaml, line 3: found character '\\t'",),
    "--config-dir=mine experiment=mapping": ("'experiment/mapping', defaults must be a list",),
    "--config-dir=mine experiment=endless": ("an option's defaults lead back to the option itself",),
    "--config-dir=mine experiment=twice": ("loss: an option is chosen in two files; write '- override /loss: ...'",),
    "--config-dir=folders loss=odd": ("--config-dir folders: folders/loss/odd.yaml cannot be read (Is a directory)",),
    "--config-dir=latin1 experiment=a": ("--config-dir latin1: latin1/experiment/a.yaml is not UTF-8 text",),
}
RESUMED = {
    "resume=nope": ("resume=nope: does not exist",),
    "resume=sweep": ("is the folder of a sweep; to resume it, repeat its command with out=sweep resume=auto",),
    "resume=run seed=1": ("resume=run: a resumed run cannot change seed; it can change epochs, max_steps",),
    "resume=run generator.hidden_sizes=[3]": ("a resumed run cannot change generator.hidden_sizes",),
    "resume=run --cfg job": ("the settings are in its checkpoint; dry_run=true shows the plan",),
}
SAMPLE = {
    "": ("checkpoint: must be set, as checkpoint=...",),
    "checkpoint=run num_image=5": ("num_image: no such setting (did you mean num_images?)",),
    "checkpoint=run classes=3": ("classes=[3]: this generator was trained without classes",),
    "run": ("'run' is not a setting; write it as key=value, such as checkpoint=run\n",),
    "checkpoint=run classes=3,7": ("classes=3,7: several values; for a list, write 'classes=[3,7]'\n",),
    "checkpoint=run export=onnx mode=npz": ("mode=npz: cannot be combined with export=onnx",),
    "checkpoint=run hydra.mode=MULTIRUN": ("wgan-sample draws from one checkpoint at a time",),
}
TRAIN = {**COMPOSITION, **GRAMMAR, **VALUES, **SWEEPS, **PLACES, **OWN_OPTIONS, **RESUMED}

# What was typed, what the message advises, and what is typed then.
ADVICE = (
    ("n_critic=1,2", "for a sweep, add -m", "n_critic=1,2 -m out=x"),
    ("+loss=hinge", "leave out the +", "loss=hinge"),
    ("critic_warmup.updates=3", "as critic_warmup={updates: ...}", "critic_warmup='{updates: 3, steps: 1}'"),
    ("clip_value=1 loss=hinge", "or constraint=clip", "clip_value=1 loss=hinge constraint=clip"),
    (
        "loss=wasserstein_gp dataset.image_size=12 critic.normalization=batch",
        "use critic.normalization=layer or none",
        "loss=wasserstein_gp dataset.image_size=12 critic.normalization=layer",
    ),
)


@pytest.fixture(scope="module")
def world(runs: FinishedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user may have in a folder."""
    folder = tmp_path_factory.mktemp("mistakes") / "world"
    shutil.copytree(runs["half"], folder / "run")
    for name, text in {
        "text": "hello",
        "bad/a.png": "not an image",
        "bad/b.jpg": "",
        "sweep/multirun.yaml": "",
        "mine/loss/odd.yaml": "name: odd\n",
        "mine/optimizer/slow.yaml": "name: adam\nrate: 1\n",
        "mine/dataset/broken.yaml": "name: [\n",
        "mine/experiment/nested.yaml": "epochs: 3\n",
        "mine/experiment/late.yaml": "# mine\n# @package _global_\n",
        "mine/experiment/marked.yaml": "\u00ef\u00bb\u00bf# @package _global_\n",
        "mine/experiment/short.yml": "# @package _global_\n",
        "mine/experiment/tab.yaml": "# @package _global_\nlog:\n\tevery: 3\n",
        "mine/experiment/mapping.yaml": "# @package _global_\ndefaults: {loss: hinge}\n",
        "mine/experiment/endless.yaml": "# @package _global_\ndefaults: [/experiment: endless]\n",
        "mine/experiment/twice.yaml": "# @package _global_\ndefaults: [/loss: hinge]\n",
        "folders/loss/odd.yaml/text": "",
        "latin1/experiment/a.yaml": "# @package _global_  Ä\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="latin-1")
    (folder / "empty").mkdir()
    photographs(folder / "größe", 50)
    return folder


@pytest.mark.parametrize("line", TRAIN)
def test_mistakes_of_wgan_train(line: str, world: Path, tiny: tuple[str, ...]) -> None:
    others = () if "resume=" in line else tiny
    said = refuse("wgan-train", *others, *shlex.split(line), cwd=world)
    assert [part for part in TRAIN[line] if part not in said] == [], said


@pytest.mark.parametrize("line", SAMPLE)
def test_mistakes_of_wgan_sample(line: str, world: Path) -> None:
    said = refuse("wgan-sample", *shlex.split(line), cwd=world)
    assert [part for part in SAMPLE[line] if part not in said] == [], said


@pytest.mark.parametrize(("line", "advice", "followed"), ADVICE)
def test_advice_works(line: str, advice: str, followed: str, world: Path, tiny: tuple[str, ...]) -> None:
    assert advice in refuse("wgan-train", *tiny, *shlex.split(line), cwd=world)
    before = tree(world)
    run("wgan-train", *tiny, *shlex.split(followed), "dry_run=true", cwd=world)
    assert tree(world) == before


def test_advice_that_can_be_pasted(world: Path, tiny: tuple[str, ...]) -> None:
    """A setting in a message is quoted for the shell and for Hydra."""
    said = refuse("wgan-train", *tiny, "dataset.root=größe", cwd=world)
    (setting,) = shlex.split(said.partition(" twice: ")[2])
    assert "40 for training" in run("wgan-train", *tiny, setting, "out=x", "dry_run=true", cwd=world).out
    for name in ("a b'c", "a,b", "[x]", "a(b)", 'a"b', "3"):
        said = refuse("wgan-train", *tiny, f"out={name}", cwd=world)
        (setting,) = shlex.split(said.partition("quote ")[2].partition(" twice: ")[2])
        planned = run("wgan-train", *tiny, setting, "dry_run=true", cwd=world).out
        assert planned.endswith(f"results     {name}\n")
    said = refuse("wgan-train", *tiny, "out=run", cwd=world)
    assert said == "wgan-train: out=run: contains a run; continue it with resume=run\n"
    run("wgan-train", "resume=run", "epochs=2", "dry_run=true", cwd=world)
