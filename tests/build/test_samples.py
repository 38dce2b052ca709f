"""``wgan-sample`` in process, with a generator that needs no checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tests.sampling.conftest import TinyGenerator, cut_cells, read_npz, read_png
from wgan_cli.build.samples import write_export, write_samples
from wgan_cli.cli.sample import OF_IMAGES
from wgan_cli.errors import SettingError
from wgan_cli.networks.players import Generator
from wgan_cli.sampling.draw import draw_grid, draw_latents
from wgan_cli.sampling.export import EXPORTERS, SUFFIXES
from wgan_cli.sampling.modes import MODES
from wgan_cli.settings import SampleSettings

USUAL: dict[str, Any] = {
    "checkpoint": "last.safetensors", "mode": "grid", "num_images": None, "seed": 0, "classes": None, "stops": 4,
    "truncation": None, "latents": None, "export": None, "out": None, "device": "cpu", "plugins": (),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _work_in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(generator: Generator, **given: Any) -> str:
    settings = SampleSettings(**{**USUAL, **given})
    return write_samples(generator, settings) if settings.export is None else write_export(generator, settings)


def reject(key: str, generator: Generator, **given: Any) -> str:
    """Return the message with which a setting is rejected. Nothing is written."""
    before = set(Path.cwd().rglob("*"))
    with pytest.raises(SettingError) as rejected:
        write(generator, **given)
    message = str(rejected.value)
    assert message.startswith(f"{key}=")
    assert len(message.splitlines()) == 1
    assert set(Path.cwd().rglob("*")) == before
    return message


def test_every_choice_is_known() -> None:
    annotations = SampleSettings.__annotations__
    assert {*get_args(annotations["mode"])} == MODES.keys()
    assert {*get_args(get_args(annotations["export"])[0])} == SUFFIXES.keys() == EXPORTERS.keys()
    assert {*OF_IMAGES} == annotations.keys() - {"checkpoint", "export", "out", "device", "plugins"}


@pytest.mark.parametrize(
    ("num_classes", "classes", "count"),
    [(None, None, 64), (3, None, 24), (20, None, 128), (20, tuple(range(20)), 160), (20, (3, 7), 16)],
)
def test_defaults(num_classes: int | None, classes: tuple[int, ...] | None, count: int) -> None:
    """64 images; but in a grid 8 of each class, of at most 16 classes unless the user chooses."""
    generator = TinyGenerator(num_classes)
    names = ", ".join(f"c{number}" for number in (classes or range(min(num_classes or 0, 16)))[:10])
    more = {128: " and 6 more, the first 16 of 20 classes", 160: " and 10 more"}.get(count, "")
    rows = f"; its rows are {names}{more}" if num_classes else ""
    assert write(generator, classes=classes) == f"wrote a grid of {count} images to samples.png{rows}"
    if classes is None:
        assert np.array_equal(read_png(Path("samples.png"))[:, :, 0], draw_grid(generator, 0)[0].numpy())
    assert write(generator, mode="images", classes=classes) == "wrote 64 images to samples/"
    assert "wrote 64 images" in write(generator, mode="npz", classes=classes)
    shown = classes or range(num_classes or 0)
    if shown:
        assert read_npz(Path("samples.npz"))["classes"].tolist() == [shown[index % len(shown)] for index in range(64)]
    words = write(generator, mode="interpolation", stops=3, classes=classes and classes[:2])
    chosen = "" if num_classes is None else f" in class{f'es c{shown[0]}, c{shown[1]}' if classes else ' c0'}"
    assert words == f"wrote a path of 48 images through 3 latents{chosen} to interpolation.png and interpolation.gif"


@pytest.mark.parametrize(("num_classes", "classes"), [(None, None), (10, None), (10, (3, 7))])
def test_written_latents_give_the_same_images(num_classes: int | None, classes: tuple[int, ...] | None) -> None:
    generator = TinyGenerator(num_classes)
    write(generator, mode="npz", seed=5, num_images=70, classes=classes, truncation=0.7, out="a.npz")
    before = read_npz(Path("a.npz"))
    assert np.array_equal(before["latents"], draw_latents(5, 70, 5, 0.7).numpy())
    for count in (None, 6):
        write(generator, mode="npz", seed=6, num_images=count, latents="a.npz", out="b.npz")
        after = read_npz(Path("b.npz"))
        assert after.keys() == before.keys() - {"seeds"}
        for name, array in after.items():
            assert array.dtype == before[name].dtype
            assert np.array_equal(array, before[name][:count])
    write(generator, latents="a.npz")
    cells = cut_cells(read_png(Path("samples.png")))  # in the order of the file, without rows of classes
    assert np.array_equal(cells.reshape(-1, 9, 9, 1)[:70], before["images"])


def test_the_classes_of_given_latents() -> None:
    """The chosen ones; otherwise those of the file; otherwise all, in a cycle."""
    latents, own = draw_latents(0, 6, 5).numpy(), np.array([9, 9, 0, 1, 2, 2], np.uint8)
    np.savez("own.npz", latents=latents, classes=own)
    np.savez("none.npz", latents=latents)

    def list_classes(num_classes: int | None, file: str, **more: Any) -> Sequence[int] | None:
        write(TinyGenerator(num_classes), mode="npz", latents=file, **more)
        arrays = read_npz(Path("samples.npz"))
        return arrays["classes"].tolist() if "classes" in arrays else None

    assert list_classes(10, "own.npz") == own.tolist()
    assert list_classes(10, "own.npz", num_images=3) == [9, 9, 0]
    assert list_classes(3, "own.npz", classes=(2, 0)) == [2, 0] * 3  # although this generator has no class 9
    assert list_classes(None, "own.npz") is None
    assert list_classes(4, "none.npz") == [0, 1, 2, 3, 0, 1]
    write(TinyGenerator(4), latents="none.npz")
    assert cut_cells(read_png(Path("samples.png")), labelled=2).shape[:2] == (4, 2)
    for file, classes, shown in (
        ("own.npz", None, "es c0, c1, c2, c9"),
        ("own.npz", (1,), " c1"),
        ("none.npz", None, " c0"),
    ):
        words = write(TinyGenerator(10), mode="interpolation", latents=file, num_images=7, classes=classes)
        assert f"a path of 12 images through 6 latents in class{shown} to" in words


def test_rejected_inputs() -> None:
    for name, shape in (("good", (4, 5)), ("other", (4, 6)), ("one", (1, 5))):
        np.savez(f"{name}.npz", latents=np.ones(shape))
    generator = TinyGenerator(10)
    assert "numbers 0 to 9" in reject("classes", generator, classes=(3, 10))
    assert "(4, 6)" in reject("latents", generator, latents="other.npz")
    assert "No such file" in reject("latents", generator, latents="missing.npz")
    assert "must not be empty" in reject("latents", generator, latents="")
    assert "latents=" in reject("truncation", generator, latents="good.npz", truncation=1.0)
    assert "at least 2" in reject("latents", generator, latents="one.npz", mode="interpolation")
    assert "4 latents in good.npz" in reject("num_images", generator, latents="good.npz", num_images=5)


@pytest.mark.parametrize("mode", MODES)
def test_rejected_outputs(mode: str) -> None:
    default = Path(MODES[mode][0])
    (default / "old").mkdir(parents=True)
    assert reject("out", TinyGenerator(), mode=mode).startswith(f"out={default}: ")
    Path("file").touch()
    assert "(" in reject("out", TinyGenerator(), mode=mode, out=f"file/{default}")
    assert "must not be empty" in reject("out", TinyGenerator(), mode=mode, out="")


def test_an_export_goes_to_its_file() -> None:
    assert write(TinyGenerator(), export="torchscript").startswith("wrote a function of latents to generator.pt; it ")
    before = Path("generator.pt").read_bytes()
    words = write(TinyGenerator(3), export="torchscript")
    assert words.startswith("wrote a function of latents and classes to generator.pt (overwritten); it")
    assert float(words.rpartition(" ")[2]) < 1e-5
    assert Path("generator.pt").read_bytes() != before
    write(TinyGenerator(), export="torchscript", out="deep/er/a.PT")
    assert {path.name for path in Path().rglob("*")} == {"generator.pt", "deep", "er", "a.PT"}


@pytest.mark.parametrize("form", SUFFIXES)
def test_rejected_exports(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    suffix = SUFFIXES[form]
    assert f"must be the name of a {suffix} file" in reject("out", Generator(), export=form, out="last.safetensors")
    monkeypatch.setitem(EXPORTERS, form, lambda *_: (b"content", lambda _: 1 / 0))
    assert "division by zero" in reject("export", TinyGenerator(), export=form)
    monkeypatch.setitem(EXPORTERS, form, lambda generator, _: (b"content", lambda inputs: generator(*inputs)))
    Path(f"a{suffix}").write_text("old")

    def fail_halfway(path: Path, _: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail_halfway)
    for name in ("a", "b", f"a{suffix}/new/a"):
        assert reject("out", TinyGenerator(), export=form, out=f"{name}{suffix}").endswith(")")
    assert Path(f"a{suffix}").read_text() == "old"
