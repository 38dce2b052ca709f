"""``wgan-sample``: what each mode writes is what the generator of the checkpoint draws."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, names, run
from wgan_cli import load_generator
from wgan_cli.sampling.draw import cycle, draw, draw_grid, draw_latents
from wgan_cli.sampling.pictures import make_class_grid, make_grid, to_bytes

pytestmark = pytest.mark.slow
SAMPLE = ("device=cpu", "num_images=5", "seed=3")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose generator knows the classes of the ten digits."""
    folder = tmp_path_factory.mktemp("conditional")
    run("wgan-train", *TINY, "dataset.conditional=true", "epochs=1", "out=run", cwd=folder)
    return folder / "run"


def read_grey(path: Path) -> Tensor:
    with Image.open(path) as png:
        return torch.from_numpy(np.asarray(png.convert("L")).copy())


def test_the_modes_draw_the_same_images_with_only_the_checkpoint(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copy(runs["whole"] / "checkpoints/last.safetensors", tmp_path / "my last.safetensors")
    expected = to_bytes(draw(load_generator(tmp_path / "my last.safetensors"), draw_latents(3, 5, 6)))

    def say(*words: str) -> str:
        return run("wgan-sample", "checkpoint=my last.safetensors", *SAMPLE, *words, cwd=tmp_path).out

    assert say() == "wrote a grid of 5 images to samples.png\n"
    assert torch.equal(read_grey(tmp_path / "samples.png"), make_grid(expected)[0])
    assert say("mode=images") == "wrote 5 images to samples/\n"
    assert torch.equal(read_grey(tmp_path / "samples/000004.png"), expected[4, 0])
    assert say("mode=npz", "out=deep/er/d.npz").startswith(
        "wrote 5 images (5, 8, 8, 1) with latents, seeds to deep/er/"
    )
    with np.load(tmp_path / "deep/er/d.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], expected.permute(0, 2, 3, 1).numpy())
    said = say("mode=interpolation", "num_images=12")
    assert said == "wrote a path of 12 images through 4 latents to interpolation.png and interpolation.gif\n"
    assert names(tmp_path) == {
        "my last.safetensors", "samples.png", "deep/er/d.npz", "interpolation.png", "interpolation.gif",
        *(f"samples/{number:06d}.png" for number in range(5)),
    }  # fmt: skip


def test_classes(conditional: Path, tmp_path: Path) -> None:
    """A run's folder in place of a file; the grid is the one that the run itself would draw with this seed."""
    generator = load_generator(conditional)

    def say(*words: str) -> str:
        return run("wgan-sample", f"checkpoint={conditional}", "device=cpu", "seed=3", *words, cwd=tmp_path).out

    assert say() == "wrote a grid of 80 images to samples.png; its rows are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"
    assert torch.equal(read_grey(tmp_path / "samples.png"), draw_grid(generator, 3)[0])
    assert say("classes=[3,7]", "out=two.png") == "wrote a grid of 16 images to two.png; its rows are 3, 7\n"
    two = to_bytes(draw(generator, draw_latents(3, 16, 6), cycle([3, 7], 16)))
    assert torch.equal(read_grey(tmp_path / "two.png"), make_class_grid(two, [(3, "3"), (7, "7")])[0])


def test_export(conditional: Path, tmp_path: Path) -> None:
    said = run("wgan-sample", f"checkpoint={conditional}", "device=cpu", "export=torchscript", cwd=tmp_path)
    assert said.out.startswith("wrote a function of latents and classes to generator.pt; it differs from the original")
    assert (len(said.out.splitlines()), said.err) == (1, "")
    assert names(tmp_path) == {"generator.pt"}
