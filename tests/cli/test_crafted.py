"""Damaged and hostile checkpoints, through both commands: refused, and nothing in them is believed or executed."""

import pickle
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import FinishedRuns
from tests.commands import names, refuse, run, tree
from wgan_cli.run.checkpoints import read_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow
SECRET = "a-value-of-the-environment"
INTERPOLATION = "${oc.env:SECRET}"
Craft = Callable[[Path], object]


class Payload:
    """A careless reader that unpickles it creates a file in the folder of the command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("owned", "w")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def put(part: str, **settings: object) -> Craft:
    """Change settings in the stored configuration; the digest matches."""

    def craft(path: Path) -> None:
        checkpoint = read_checkpoint(path)
        changed = {**checkpoint.config[part], **settings} if part else settings
        config = {**checkpoint.config, **({part: changed} if part else changed)}
        save_checkpoint(path, replace(checkpoint, config=config))

    return craft


def change_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Craft:
    def craft(path: Path) -> None:
        checkpoint = read_checkpoint(path)
        tensors = dict(checkpoint.tensors)
        change(tensors)
        save_checkpoint(path, replace(checkpoint, tensors=tensors))

    return craft


def fill_with_nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["ema.last.weight"] = torch.full_like(tensors["ema.last.weight"], float("nan"))


def drop_average(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["critic_optimizer.last.score.weight.square_avg"]


NOT_OURS = "is not a checkpoint of wgan-train, or it is damaged"
MLP = {"name": "mlp", "hidden_sizes": [4], "normalization": "none"}
# What is done to the checkpoint, and what the message says. Both commands refuse these.
BOTH: Mapping[str, tuple[Craft, str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), NOT_OURS),
    "a flipped bit": (flip_a_bit, "its content does not match its digest"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Payload())), NOT_OURS),
    "a header of 10¹⁸ bytes": (lambda path: path.write_bytes(struct.pack("<Q", 10**18) + path.read_bytes()), NOT_OURS),
    "tensors of another program": (lambda path: save_file({"x": torch.ones(1)}, path), "is not a checkpoint of wgan"),
    "another network": (
        put("", generator={**MLP, "latent_dim": 6}),
        "that it describes (its weights are of another network",
    ),
    "a billion channels": (put("generator", width=10**9), "generator.width=1000000000"),
    "NaN": (change_tensors(fill_with_nan), "contains numbers that are not finite, in ema.last.weight"),
    "an interpolation": (put("generator", normalization=INTERPOLATION), "generator.normalization=${oc.env:SECRET}"),
}
# wgan-train cannot resume from these. wgan-sample needs only the generator.
RESUME: Mapping[str, tuple[Craft, str]] = {
    "a batch of 10¹²": (put("", batch_size=10**12), "batch_size=1000000000000"),
    "half an optimizer": (change_tensors(drop_average), "the optimizer stores only step for last.score.weight"),
}


def craft_run(whole: Path, folder: Path, craft: Craft) -> Path:
    """Copy a run of which only the last checkpoint remains, and change that; return it."""
    shutil.copytree(whole, folder)
    for epoch in folder.glob("checkpoints/epoch_*"):
        epoch.unlink()
    last = folder / "checkpoints/last.safetensors"
    craft(last)
    return last


@pytest.mark.parametrize("name", [*BOTH, *RESUME])
def test_it_is_refused(name: str, runs: FinishedRuns, tmp_path: Path) -> None:
    craft, words = {**BOTH, **RESUME}[name]
    craft_run(runs["whole"], tmp_path / "run", craft)
    for command, setting in (("wgan-train", "resume=run"), ("wgan-sample", "checkpoint=run")):
        if command == "wgan-sample" and name in RESUME:
            run(command, setting, cwd=tmp_path)
            continue
        said = refuse(command, setting, cwd=tmp_path, SECRET=SECRET)
        assert said.startswith(f"{command}: {setting}: ")
        assert words in said
        assert SECRET not in said
    assert not (tmp_path / "owned").exists()


def test_the_payload_would_have_worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload())).close()
    assert (tmp_path / "owned").exists()


def test_checkpoints_of_an_older_version(tmp_path: Path) -> None:
    old = tmp_path / "old/checkpoints/last.pt"
    old.parent.mkdir(parents=True)
    torch.save({"format": 1}, old)
    for command, setting in {
        "wgan-train": "resume=old",
        "wgan-sample": "checkpoint=old",
        "wgan-sample ": "checkpoint=old/checkpoints/last.pt",
    }.items():
        said = refuse(command.strip(), setting, cwd=tmp_path)
        assert "of an older version (*.pt), which this version cannot read" in said


@pytest.mark.parametrize("place", ["checkpoints", "metrics.csv", ".lock"])
def test_a_run_that_would_write_through_a_link(place: str, runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copytree(runs["half"], tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "run" / place, elsewhere)
    (tmp_path / "run" / place).symlink_to(elsewhere)
    assert f"run/{place} is a link" in refuse("wgan-train", "resume=run", "epochs=3", cwd=tmp_path)


def test_links_and_files_that_a_run_replaces(runs: FinishedRuns, tmp_path: Path) -> None:
    """A link is replaced by a file and its target stays as it was. A file that is not a picture is not in the film."""
    shutil.copytree(runs["half"], tmp_path / "run")
    (tmp_path / "diary").write_text("my own\n")
    places = [
        tmp_path / "run" / name for name in ("samples/real.png", "samples/progress.gif", "samples/epoch_0002.png")
    ]
    for place in places:
        place.unlink(missing_ok=True)
        place.symlink_to(tmp_path / "diary")
    (tmp_path / "run/samples/epoch_0001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (tmp_path / "run/metrics.csv").write_bytes(b"\xff\xfe" * 99)
    run("wgan-train", "resume=run", "epochs=2", cwd=tmp_path)
    assert (tmp_path / "diary").read_text() == "my own\n"
    assert [place.is_symlink() for place in places] == [False] * 3


def test_a_new_run_among_crafted_ones(runs: FinishedRuns, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """``resume=auto`` looks at each of them, and finds none that it could resume."""
    for name in ("a pickle", "a header of 10¹⁸ bytes", "an interpolation", "a batch of 10¹²"):
        craft_run(runs["half"], tmp_path / "out" / name, {**BOTH, **RESUME}[name][0])
    before = tree(tmp_path)
    words = (*tiny, "resume=auto", "dry_run=true", "out='out/${now:%f}'")
    said = run("wgan-train", *words, cwd=tmp_path, SECRET=SECRET)
    assert said.out.startswith("no unfinished run with these settings in out; starting a new one")
    assert SECRET not in said.out + said.err
    assert tree(tmp_path) == before
    assert "owned" not in names(tmp_path)
