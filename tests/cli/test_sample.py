import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, Answer, forked, names, run, tree
from wgan_cli import load_generator
from wgan_cli.images import grid
from wgan_cli.sampling import closed_path, in_turn, render, sample, sample_grid, sample_latents

SAMPLE = ("device=cpu", "num_images=5", "seed=3")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a generator that knows the ten classes."""
    folder = tmp_path_factory.mktemp("conditional")
    run("wgan-train", *TINY, "dataset.conditional=true", "epochs=1", "hydra.run.dir=run", cwd=folder)
    return folder / "run/checkpoints/last.pt"


@pytest.mark.slow
def test_each_mode_draws_the_same_images_with_nothing_but_the_checkpoint(runs: FinishedRuns, tmp_path: Path) -> None:
    shutil.copy(runs["whole"] / "checkpoints/last.pt", tmp_path / "my last.pt")
    expected = sample(load_generator(tmp_path / "my last.pt"), seed=3, count=5)

    def said(*words: str) -> str:
        return run("wgan-sample", "checkpoint=my last.pt", *SAMPLE, *words, cwd=tmp_path).out

    assert said() == "wrote a grid of 5 images to samples.png\n"
    with Image.open(tmp_path / "samples.png") as png:
        assert np.array_equal(np.asarray(png), grid(expected)[0].numpy())
    assert said("mode=npz", "out=deep/er/d.npz").startswith("wrote 5 images (5, 8, 8, 1) with latents, seeds to ")
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


@pytest.mark.slow
def test_classes(conditional: Path, tmp_path: Path) -> None:
    generator = load_generator(conditional)

    def said(*words: str) -> str:
        return run("wgan-sample", f"checkpoint={conditional}", "device=cpu", "seed=3", *words, cwd=tmp_path).out

    assert said() == "wrote a grid of 80 images to samples.png\n"
    with Image.open(tmp_path / "samples.png") as png:
        assert np.array_equal(np.asarray(png), sample_grid(generator, 3)[0].numpy())
    assert said("classes=[3,7]", "out=two.png") == "wrote a grid of 16 images to two.png\n"
    two = torch.cat(list(render(generator, sample_latents(3, 16, 6), in_turn([3, 7], 16))))
    with Image.open(tmp_path / "two.png") as png:
        assert np.array_equal(np.asarray(png), grid(two, rows=2)[0].numpy())


@pytest.mark.slow
def test_latents_that_were_written_and_truncation(conditional: Path, tmp_path: Path) -> None:
    def arrays(*words: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        out = run("wgan-sample", f"checkpoint={conditional}", "device=cpu", "mode=npz", *words, cwd=tmp_path).out
        with np.load(tmp_path / out.split()[-1], allow_pickle=False) as found:
            return dict(found)

    first = arrays("classes=[7,2]", "num_images=70", "truncation=0.5", "out=a.npz")
    assert np.abs(first["latents"]).max() <= 0.5
    assert first["classes"].tolist() == [7, 2] * 35
    again = arrays("latents=a.npz", "seed=9", "out=b.npz")
    assert again.keys() == {"images", "latents", "classes"}
    assert all(np.array_equal(array, first[name]) for name, array in again.items())


@pytest.mark.slow
def test_interpolation(runs: FinishedRuns, tmp_path: Path) -> None:
    words = (f"checkpoint={runs['whole']}", "device=cpu", "mode=interpolation", "stops=3", "num_images=12")
    said = run("wgan-sample", *words, cwd=tmp_path).out
    assert said == "wrote a path of 12 images through 3 latents to interpolation.png and interpolation.gif\n"
    path = closed_path(sample_latents(0, 3, 6), 4)
    images = torch.cat(list(render(load_generator(runs["whole"]), path)))
    with Image.open(tmp_path / "interpolation.png") as png:
        assert np.array_equal(np.asarray(png), grid(images, columns=4)[0].numpy())
    with Image.open(tmp_path / "interpolation.gif") as gif:
        assert gif.info["loop"] == 0
        shown = []
        for index in range(getattr(gif, "n_frames", 1)):
            gif.seek(index)
            shown.append(np.asarray(gif.convert("L"))[::16, ::16])
    assert np.array_equal(np.stack(shown), images[:, 0].numpy())
    assert names(tmp_path) == {"interpolation.png", "interpolation.gif"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated
def test_export(conditional: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is said, and one file is written: onnxruntime leaves no identifier at home, nor sends it anywhere."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    expected = load_generator(conditional)(torch.ones(3, 6), torch.tensor([0, 5, 9]))
    for form, name in (("torchscript", "generator.pt"), ("onnx", "generator.onnx")):
        said = run("wgan-sample", f"checkpoint={conditional}", "device=cpu", f"export={form}", cwd=tmp_path)
        assert said.out.startswith(f"wrote a function of latents and classes to {name}; it differs from the original")
        assert len(said.out.splitlines()) == 1
        assert not said.err
    assert names(tmp_path) == {"generator.pt", "generator.onnx"}  # and this folder is its home

    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    script = torch.jit.load(tmp_path / "generator.pt")
    torch.testing.assert_close(script(torch.ones(3, 6), torch.tensor([0, 5, 9])), expected, rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "generator.onnx", providers=["CPUExecutionProvider"])
    feed = {"latents": np.ones((3, 6), np.float32), "classes": np.array([0, 5, 9])}
    (images,) = session.run(None, feed)
    torch.testing.assert_close(torch.from_numpy(images), expected, rtol=0, atol=1e-5)


# What was typed, and what the message must hold. `plain.pt` knows no classes, and `last.pt` does.
Case = tuple[Sequence[str], Sequence[str]]
MISTAKES: dict[str, Case] = {
    "no such class": (("classes=[3,10]",), ("classes=[3, 10]", "from 0 to 9")),
    "no class": (("classes=[]",), ("classes=[]", "one or more", "from 0 to 9")),
    "a class below 0": (("classes=[-1]",), ("classes[0]=-1", "a whole number of at least 0")),
    "a class that is no list": (("classes=3",), ("classes=3", "a list")),
    "classes of a generator without": (("checkpoint=plain.pt", "classes=[3]"), ("classes=[3]", "conditional=true")),
    "too small a truncation": (("truncation=0",), ("truncation=0", "a number of at least 0.01")),
    "missing latents": (("latents=nope.npz",), ("latents=nope.npz", "No such file")),
    "latents that are none": (("latents=last.pt",), ("latents=last.pt", "(N, 6)", "there is none")),
    "latents of another size": (("latents=other.npz",), ("latents=other.npz", "(N, 6)", "(4, 5)")),
    "truncated latents": (("latents=good.npz", "truncation=1"), ("truncation=1", "latents=")),
    "more than there are": (("latents=good.npz", "num_images=5"), ("num_images=5", "there are 4 latents")),
    "one stop": (("mode=interpolation", "stops=1"), ("stops=1", "from 2 to")),
    "an interpolation as JPEG": (("mode=interpolation", "out=a.jpg"), ("out=a.jpg", ".png or .gif")),
    "unknown export": (("export=onx",), ("export=onx", "onnx, torchscript")),
    "a mode and an export": (("export=onnx", "mode=npz"), ("mode=npz", "export=onnx writes none")),
    "a seed and an export": (("export=onnx", "seed=1"), ("seed=1", "leave one of the two out")),
    "latents and an export": (("export=torchscript", "latents=good.npz"), ("latents=good.npz", "export=torchscript")),
    "an export's suffix": (("export=torchscript", "out=a.onnx"), ("out=a.onnx", ".pt")),
    "an export over the checkpoint": (("export=torchscript", "out=./last.pt"), ("out=last.pt", "is a checkpoint")),
    "an export to nowhere": (("export=torchscript", "out=good.npz/a.pt"), ("out=good.npz/a.pt", "cannot be written")),
    "an export on no device": (("export=torchscript", "device=banana"), ("device=banana", "auto, cpu, cuda")),
}


@pytest.mark.slow
def test_mistakes(conditional: Path, runs: FinishedRuns, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    """Exit code 2, two lines that help, and nothing on the disk."""
    shutil.copy(conditional, tmp_path / "last.pt")
    shutil.copy(runs["half"] / "checkpoints/last.pt", tmp_path / "plain.pt")
    np.savez(tmp_path / "good.npz", latents=np.ones((4, 6)))
    np.savez(tmp_path / "other.npz", latents=np.ones((4, 5)))
    before = tree(tmp_path)

    def make(words: Sequence[str]) -> Answer:
        checkpoint = () if any(word.startswith("checkpoint=") for word in words) else ("checkpoint=last.pt",)
        return forked("wgan-sample", *checkpoint, *words, cwd=tmp_path, CUDA_VISIBLE_DEVICES="")

    answers = pool.map(make, [words for words, _ in MISTAKES.values()])
    for (name, (_, expected)), said in zip(MISTAKES.items(), answers, strict=True):
        assert said.code == 2, (name, said)
        assert said.err.startswith("wgan-sample: "), (name, said.err)
        assert len(said.err.splitlines()) <= 3, (name, said.err)
        assert not said.out, (name, said.out)
        for words in expected:
            assert words in said.err, (name, said.err)
    assert tree(tmp_path) == before


def test_help_and_configuration(tmp_path: Path) -> None:
    said = run("wgan-sample", "--help", cwd=tmp_path).out
    for key in (
        *("checkpoint", "num_images", "seed", "mode", "out", "device"),
        *("classes", "truncation", "latents", "stops", "export"),
    ):
        assert f"\n{key}:" in said
    assert "num_images: 7" in run("wgan-sample", "num_images=7", "--cfg", "job", cwd=tmp_path).out
    assert not names(tmp_path)
