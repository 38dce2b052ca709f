import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import FinishedRuns
from tests.commands import names, run
from wgan_cli import load_generator
from wgan_cli.images import grid
from wgan_cli.sampling import sample

SAMPLE = ("device=cpu", "num_images=5", "seed=3")


@pytest.mark.slow
def test_each_mode_draws_the_same_images_with_nothing_but_the_checkpoint(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copy(runs["whole"] / "checkpoints/last.pt", tmp_path / "my last.pt")
    expected = sample(load_generator(tmp_path / "my last.pt"), seed=3, count=5)

    def said(*words: str) -> str:
        return run("wgan-sample", "checkpoint=my last.pt", *SAMPLE, *words, cwd=tmp_path).out

    assert said() == "wrote a grid of 5 images to samples.png\n"
    with Image.open(tmp_path / "samples.png") as png:
        assert np.array_equal(np.asarray(png), grid(expected)[0].numpy())
    assert said("mode=npz", "out=deep/er/d.npz").startswith("wrote 5 images (5, 8, 8, 1), their latents and seeds to ")
    with np.load(tmp_path / "deep/er/d.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], expected.permute(0, 2, 3, 1).numpy())
    assert names(tmp_path) == {"my last.pt", "samples.png", "deep/er/d.npz"}


@pytest.mark.slow
def test_images_of_a_run_folder(runs: FinishedRuns, tmp_path: Path) -> None:
    words = (f"checkpoint={runs['whole']}", *SAMPLE, "mode=images")
    assert run("wgan-sample", *words, cwd=tmp_path).out == "wrote 5 images to samples/\n"
    assert names(tmp_path) == {f"samples/{number:06d}.png" for number in range(5)}
    with Image.open(tmp_path / "samples/000004.png") as png:
        assert np.array_equal(np.asarray(png), sample(load_generator(runs["whole"]), seed=3, count=5)[4, 0].numpy())


def test_help_and_configuration(tmp_path: Path) -> None:
    said = run("wgan-sample", "--help", cwd=tmp_path).out
    for key in ("checkpoint", "num_images", "seed", "mode", "out", "device"):
        assert f"\n{key}:" in said
    assert "num_images: 7" in run("wgan-sample", "num_images=7", "--cfg", "job", cwd=tmp_path).out
    assert not names(tmp_path)
