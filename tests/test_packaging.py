"""The wheel, installed away from the checkout, is the whole program."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.commands import environment, names
from wgan_cli.settings import CONF_DIR

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[1]
NO_NETWORK = ("No matching distribution", "Could not find a version", "ConnectionError", "Temporary failure")


def pip(*words: str) -> None:
    finished = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    if finished.returncode and "wheel" in words and any(sign in finished.stderr for sign in NO_NETWORK):
        pytest.skip("the build backend is not installed, and cannot be downloaded")
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    alone = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip("wheel", "--quiet", "--no-deps", *alone, "--wheel-dir", str(folder), str(CHECKOUT))
    (made,) = folder.glob("wgan_cli-*.whl")
    return made


def test_the_wheel_holds_all_that_is_needed_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        everything = archive.namelist()
    held = {name for name in everything if ".dist-info/" not in name}
    assert any(name.endswith("LICENSE") for name in everything)
    sources = {f"wgan_cli/{name}" for name in names(CHECKOUT / "wgan_cli") if name.endswith((".py", "py.typed"))}
    options = {f"wgan_cli/conf/{name}" for name in names(CONF_DIR)}
    assert "wgan_cli/py.typed" in held
    assert held == sources | options


def test_it_runs_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """The path of the target comes before that of an editable install."""
    target, empty = tmp_path / "target", tmp_path / "empty"
    empty.mkdir()
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    variables = {**environment(empty, PYTHONPATH=str(target)), "PATH": os.environ["PATH"]}

    def said(*words: str) -> str:
        finished = subprocess.run(words, cwd=empty, env=variables, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    where = "import wgan_cli.settings as s, wgan_cli; print(wgan_cli.__file__); print(s.CONF_DIR)"
    used = said(sys.executable, "-c", where).split()
    assert used == [str(target / "wgan_cli/__init__.py"), str(target / "wgan_cli/conf")]
    command = str(target / "bin" / "wgan-train")
    composed = yaml.safe_load(said(sys.executable, command, "loss=hinge", "--cfg", "job"))
    assert composed["constraint"]["name"] == "spectral_norm"
    plan = said(sys.executable, command, "dry_run=true", "dataset.limit=70", "generator.width=4", "critic.width=4")
    assert "glyphs, 70 for training" in plan
    assert "wgan-sample" in said(sys.executable, str(target / "bin" / "wgan-sample"), "--help")
    assert not names(empty)
