"""The installed commands, as a user runs them: each in its own process, and in a folder of the test."""

import json
import multiprocessing
import os
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tests.builders import bits
from wgan_cli.cli.command_line import parse_command_line
from wgan_cli.cli.compose import compose_config, initialize_hydra, to_plain
from wgan_cli.cli.main import wgan_sample, wgan_train

# A run of a second of training: five batches an epoch, so that two critic updates a step do not divide an epoch.
TINY = (
    "dataset.limit=40",
    "dataset.image_size=8",
    "batch_size=8",
    "generator.width=4",
    "critic.width=4",
    "generator.latent_dim=6",
    "n_critic=2",
    "log.every=2",
    "epochs=2",
    "device=cpu",
    "precision=fp32",
)
Fault = Callable[[], None]
CLOSED = "http://127.0.0.1:9"  # nobody listens there: a download through it fails at once, on any machine


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def command(name: str) -> str:
    """Where pip put a console script of this environment."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """One thread, none of the caller's settings or caches, and no network. Folders beside each other share a cache."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYDRA", "WGAN", "PYTEST"))}
    none = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), CLOSED)
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home.parent / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return {**kept, **none, **own, **variables}


def start(name: str, *words: str, cwd: Path, stderr: int = PIPE) -> "Popen[str]":
    typed, own = [command(name), *words], environment(cwd)
    return Popen(typed, cwd=cwd, env=own, stdin=DEVNULL, stdout=PIPE, stderr=stderr, text=True)


def answer(process: "Popen[str]") -> Answer:
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return Answer(process.returncode, out, err)


# Importing torch takes most of a short command's time. A server that has imported it forks a process for each command,
# which calls the function of the console script. `start` starts the script itself.
_forks = multiprocessing.get_context("forkserver")
_ours = ["wgan_cli.cli.train", "wgan_cli.build.restore", "wgan_cli.sampling.modes"]
_forks.set_forkserver_preload(["tests.commands", "torchvision.datasets", *_ours])


def _be(
    name: str, words: Sequence[str], cwd: Path, variables: Mapping[str, str], said: Path, fault: Fault | None
) -> None:
    """Become the command: its folder, environment, arguments and streams."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    for descriptor, path in enumerate((Path(os.devnull), said / "out", said / "err")):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    sys.argv = [command(name), *words]
    if fault is not None:
        fault()
    {"wgan-train": wgan_train, "wgan-sample": wgan_sample}[name]()


def run(name: str, *words: str, cwd: Path, code: int = 0, fault: Fault | None = None, **variables: str) -> Answer:
    """Run a command to its end, in a process that has torch imported already, and check its exit code.

    A fault, of tests.faults, is called in that process first. The variables are added to its environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder)
        process = _forks.Process(target=_be, args=(name, words, cwd, environment(cwd, **variables), said, fault))
        process.start()
        process.join(300)
        process.kill()
        assert process.exitcode is not None
        out, err = (said / "out").read_text(), (said / "err").read_text()
    assert process.exitcode == code, f"exit code {process.exitcode}\n{out}\n{err}"
    assert code == 1 or "Traceback" not in out + err, err
    return Answer(code, out, err)


def refuse(name: str, *words: str, cwd: Path, **variables: str) -> str:
    """Run a command that must be refused; return its message: a line or two. Nothing is left on the disk."""
    before = tree(cwd)
    said = run(name, *words, cwd=cwd, code=2, fault=None, CUDA_VISIBLE_DEVICES="", **variables)
    assert said.err.startswith(f"{name}: ")
    assert len(said.err.splitlines()) <= 2
    assert len(said.err) < 2000
    assert "results" not in said.out  # the last line of the plan
    assert tree(cwd) == before
    return said.err


def compose(*words: str, program: str = "train") -> dict[str, Any]:
    """Compose the settings of a command line, as plain data."""
    line = parse_command_line(program, words)
    with initialize_hydra(line):
        return to_plain(compose_config(line))


def tree(folder: Path) -> dict[str, tuple[int, bytes] | None]:
    """Everything in a folder but locks: files with their times and contents, and folders."""
    found = sorted(path for path in folder.rglob("*") if path.name != ".lock")
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else None
        for path in found
    }


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint file without the program's help: its tensors, and its metadata as plain data."""
    with safe_open(path, framework="pt") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items() if text.startswith("{")}
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)


def results(folder: Path, but: Iterable[str] = ()) -> Mapping[str, object]:
    """Return what the same run must always give, to the bit: not times, and not settings for the length of a run."""
    found: dict[str, object] = {}
    for name in sorted(names(folder) - set(but)):
        path = folder / name
        if name == "metrics.csv" or name.endswith(".png"):
            found[name] = path.read_bytes()
        elif name.endswith(".safetensors"):
            tensors, metadata = read_checkpoint(path)
            found[name] = bits({"tensors": tensors, "counts": metadata["counts"]})
    return found
