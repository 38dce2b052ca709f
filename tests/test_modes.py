import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from wgan_cli import modes
from wgan_cli.images import grid, to_bytes
from wgan_cli.modes import write_samples
from wgan_cli.networks import GENERATORS
from wgan_cli.parameters import SettingError
from wgan_cli.players import Generator
from wgan_cli.sampling import closed_path, in_turn, render, sample_latents
from wgan_cli.settings import SampleSettings

COUNT = 70  # more than a chunk
SUFFIXES = {"grid": ".png", "images": "", "interpolation": ".gif", "npz": ".npz"}
Array = np.ndarray[Any, Any]


def make_generator(num_classes: int | None = None, channels: int = 1, latent_dim: int = 5) -> Generator:
    """With contrast, so that no two images are alike."""
    torch.manual_seed(1)
    generator = GENERATORS["mlp"](9, channels, num_classes, latent_dim=latent_dim, hidden_sizes=(8,)).eval()
    with torch.no_grad():
        generator.get_parameter("last.weight").mul_(5)
    return generator


def settings(mode: str, **given: Any) -> SampleSettings:
    """As conf/sample.yaml has them, but for what is given."""
    usual: dict[str, Any] = {
        "checkpoint": "last.pt",
        "num_images": None,
        "seed": 0,
        "classes": None,
        "truncation": None,
        "latents": None,
        "stops": 4,
        "export": None,
        "out": None,
        "device": "cpu",
    }
    paths = {key: str(value) for key, value in given.items() if isinstance(value, Path)}
    return SampleSettings(**{**usual, "mode": mode, **given, **paths})


def write(generator: Generator, mode: str, **given: Any) -> str:
    return write_samples(generator, settings(mode, **given))


def pixels(path: Path, channels: int = 1) -> Array:
    with Image.open(path) as png:
        found = np.array(png)
    return found.reshape(*found.shape[:2], channels)


def arrays_in(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def rendered(generator: Generator, latents: Tensor, classes: Tensor | None = None) -> Tensor:
    return torch.cat(list(render(generator, latents, classes)))


def refusal(key: str, generator: Generator, mode: str, **given: Any) -> str:
    """The message, of a line or two, with which something is refused."""
    with pytest.raises(SettingError) as refused:
        write(generator, mode, **given)
    assert refused.value.key == key
    assert str(refused.value).startswith(f"{key}=")
    assert len(str(refused.value).splitlines()) <= 2
    assert len(str(refused.value)) < 400
    return str(refused.value)


# The same images in every mode.


@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_modes_agree_pixel_by_pixel(num_classes: int | None, channels: int, tmp_path: Path) -> None:
    generator = make_generator(num_classes, channels)
    for mode, name in (("grid", "grid.png"), ("images", "images"), ("npz", "all.npz")):
        write(generator, mode, seed=7, num_images=COUNT, out=tmp_path / name)
    arrays = arrays_in(tmp_path / "all.npz")
    images, latents, seeds = (arrays[name] for name in ("images", "latents", "seeds"))
    assert set(arrays) == {"images", "latents", "seeds"} | ({"classes"} if num_classes else set())
    assert (images.dtype, images.shape) == (np.uint8, (COUNT, 9, 9, channels))
    assert (latents.dtype, latents.shape) == (np.float32, (COUNT, 5))
    assert (seeds.dtype, seeds.shape) == (np.int64, (COUNT,))
    if num_classes:
        assert arrays["classes"].dtype == np.int64
        assert arrays["classes"].tolist() == [index % 3 for index in range(COUNT)]

    files = sorted((tmp_path / "images").iterdir())
    assert [file.name for file in files] == [f"{index:06d}.png" for index in range(COUNT)]
    sheet = pixels(tmp_path / "grid.png", channels)
    rows, columns = (3, 24) if num_classes else (8, 9)
    assert sheet.shape == (rows * 11 + 2, columns * 11 + 2, channels)
    for index, (image, file) in enumerate(zip(images, files, strict=True)):
        assert np.array_equal(pixels(file, channels), image)
        row, column = (index % 3, index // 3) if num_classes else divmod(index, 9)
        top, left = row * 11 + 2, column * 11 + 2
        assert np.array_equal(sheet[top : top + 9, left : left + 9], image)
    assert len({image.tobytes() for image in images}) == COUNT

    # As documented: a seed makes its latent, and the latent and the class their image.
    for index in (0, 1, COUNT - 1):
        latent = torch.randn(5, generator=torch.Generator().manual_seed(int(seeds[index])))
        assert np.array_equal(latent.numpy(), latents[index])
        of_class = [torch.tensor([index % 3])] if num_classes else []
        with torch.no_grad():
            alone = to_bytes(generator(latent[None], *of_class))[0].permute(1, 2, 0).numpy()
        assert np.abs(alone.astype(int) - images[index]).max() <= 1  # a batch of one may round another way


def test_default_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = {"grid": {"samples.png"}, "images": {"samples"}, "npz": {"samples.npz"}}
    expected["interpolation"] = {"interpolation.png", "interpolation.gif"}
    for mode, names in expected.items():
        before = {path.name for path in tmp_path.iterdir()}
        words = write(make_generator(), mode, num_images=2)
        assert {path.name for path in tmp_path.iterdir()} - before == names
        assert all(name in words for name in names)
        assert "replaced" not in words


def test_how_many_there_are_where_nobody_says(tmp_path: Path) -> None:
    """64; in a grid 8 of each class, of at most 16 classes unless they are chosen."""
    for num_classes, classes, count in ((None, None, 64), (3, None, 24), (20, None, 128), (20, tuple(range(20)), 160)):
        generator = make_generator(num_classes)
        words = write(generator, "grid", classes=classes, out=tmp_path / "a.png")
        assert f"a grid of {count} images" in words
        assert ("of the first 16 of 20 classes" in words) == (count == 128)
        assert "wrote 64 images" in write(generator, "npz", classes=classes, out=tmp_path / "a.npz")
    assert arrays_in(tmp_path / "a.npz")["classes"].tolist() == [index % 20 for index in range(64)]


# Classes.


@pytest.mark.parametrize("classes", [(3,), (3, 7), (7, 3), (2, 2, 5), tuple(range(10)), None])
def test_a_grid_has_a_class_in_each_row(classes: tuple[int, ...] | None, tmp_path: Path) -> None:
    generator = make_generator(10)
    write(generator, "grid", seed=2, classes=classes, out=tmp_path / "a.png")
    rows = list(range(10)) if classes is None else list(classes)
    sheet, latents = pixels(tmp_path / "a.png"), sample_latents(2, 8 * len(rows), 5)
    assert sheet.shape == (len(rows) * 11 + 2, 8 * 11 + 2, 1)
    for row, of_class in enumerate(rows):
        expected = rendered(generator, latents, in_turn([of_class], len(latents)))
        for column in range(8):
            top, left = row * 11 + 2, column * 11 + 2
            image = expected[column * len(rows) + row, 0].numpy()
            assert np.array_equal(sheet[top : top + 9, left : left + 9, 0], image)


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (4, (3, 2)), (7, (3, 3))])
def test_a_number_that_the_classes_do_not_divide(count: int, shape: tuple[int, int], tmp_path: Path) -> None:
    """The last column is not full; there are no rows for classes without an image."""
    generator = make_generator(10)
    write(generator, "grid", classes=(4, 1, 9), num_images=count, out=tmp_path / "a.png")
    images = rendered(generator, sample_latents(0, count, 5), in_turn([4, 1, 9], count))
    sheet = pixels(tmp_path / "a.png")
    assert sheet.shape == (shape[0] * 11 + 2, shape[1] * 11 + 2, 1)
    for index, image in enumerate(images):
        top, left = index % 3 * 11 + 2, index // 3 * 11 + 2
        assert np.array_equal(sheet[top : top + 9, left : left + 9, 0], image[0].numpy())
        sheet[top : top + 9, left : left + 9] = 0
    assert not sheet.any()


def test_an_image_does_not_depend_on_what_else_is_drawn(tmp_path: Path) -> None:
    generator = make_generator(10)

    def drawn(**given: Any) -> Array:
        write(generator, "npz", **given, out=tmp_path / "a.npz")
        return arrays_in(tmp_path / "a.npz")["images"]

    many = drawn(classes=(3, 7), num_images=COUNT)
    assert np.array_equal(drawn(classes=(3, 7), num_images=5), many[:5])
    assert np.array_equal(drawn(classes=(3,), num_images=COUNT)[::2], many[::2])
    assert np.array_equal(drawn(classes=(1, 7, 2, 7), num_images=COUNT)[1::2], many[1::2])
    assert not np.array_equal(drawn(classes=(3,), num_images=COUNT)[1], many[1])


@pytest.mark.parametrize("mode", SUFFIXES)
def test_classes_that_there_are_not(mode: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / f"a{SUFFIXES[mode]}"
    assert "from 0 to 9" in refusal("classes", make_generator(10), mode, classes=(3, 10), out=out)
    assert "one or more" in refusal("classes", make_generator(10), mode, classes=(), out=out)
    for classes in ((0,), ()):
        words = refusal("classes", make_generator(), mode, classes=classes, out=out)
        assert "dataset.conditional=true" in words
    assert not any(tmp_path.iterdir())


# Truncation and latents that are given.


@pytest.mark.parametrize("num_classes", [None, 10])
def test_truncation(num_classes: int | None, tmp_path: Path) -> None:
    generator = make_generator(num_classes)
    write(generator, "npz", truncation=0.5, out=tmp_path / "a.npz")
    arrays = arrays_in(tmp_path / "a.npz")
    assert np.array_equal(arrays["latents"], sample_latents(0, 64, 5, 0.5).numpy())
    assert np.abs(arrays["latents"]).max() <= 0.5
    classes = None if num_classes is None else in_turn(range(num_classes), 64)
    images = rendered(generator, torch.from_numpy(arrays["latents"]), classes)
    assert np.array_equal(arrays["images"], images.permute(0, 2, 3, 1).numpy())
    write(generator, "npz", out=tmp_path / "b.npz")
    assert not np.array_equal(arrays_in(tmp_path / "b.npz")["images"], arrays["images"])


@pytest.mark.parametrize(("num_classes", "classes"), [(None, None), (10, None), (10, (3, 7))])
@pytest.mark.parametrize("truncation", [None, 0.7])
def test_latents_that_were_written_make_the_same_images_again(
    num_classes: int | None, classes: tuple[int, ...] | None, truncation: float | None, tmp_path: Path
) -> None:
    generator, first, again = make_generator(num_classes), tmp_path / "a.npz", tmp_path / "b.npz"
    write(generator, "npz", seed=5, num_images=COUNT, classes=classes, truncation=truncation, out=first)
    words = write(generator, "npz", seed=6, latents=first, out=again)
    assert f"wrote {COUNT} images" in words
    before, after = arrays_in(first), arrays_in(again)
    assert after.keys() == before.keys() - {"seeds"}
    for name, array in after.items():
        assert array.dtype == before[name].dtype
        assert np.array_equal(array, before[name])

    write(generator, "npz", latents=first, num_images=6, out=again)
    assert np.array_equal(arrays_in(again)["images"], before["images"][:6])
    write(generator, "images", latents=first, num_images=6, out=tmp_path / "images")
    for file, image in zip(sorted((tmp_path / "images").iterdir()), before["images"][:6], strict=True):
        assert np.array_equal(pixels(file), image)
    write(generator, "grid", latents=first, out=tmp_path / "a.png")
    in_order = torch.from_numpy(before["images"]).permute(0, 3, 1, 2)
    assert np.array_equal(pixels(tmp_path / "a.png")[:, :, 0], grid(in_order)[0].numpy())


def test_which_classes_given_latents_get(tmp_path: Path) -> None:
    """Those that are chosen; else those in the file; else all in turn. A grid shows what comes in turn in rows."""
    given, out = tmp_path / "latents.npz", tmp_path / "a.npz"
    latents = sample_latents(0, 6, 5).numpy()
    own = np.array([9, 9, 0, 1, 2, 2], np.uint8)

    def classes(generator: Generator, **more: Any) -> list[int] | None:
        write(generator, "npz", latents=given, **more, out=out)
        arrays = arrays_in(out)
        return arrays["classes"].tolist() if "classes" in arrays else None

    np.savez(given, latents=latents, classes=own)
    assert classes(make_generator(10)) == own.tolist()
    assert classes(make_generator(10), num_images=3) == [9, 9, 0]
    assert classes(make_generator(10), classes=(3, 7)) == [3, 7] * 3
    assert classes(make_generator(3), classes=(2,)) == [2] * 6  # though there is no 9 in this generator
    assert classes(make_generator()) is None
    np.savez(given, latents=latents)
    assert classes(make_generator(4)) == [0, 1, 2, 3, 0, 1]
    write(make_generator(4), "grid", latents=given, out=tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").shape == (4 * 11 + 2, 2 * 11 + 2, 1)


KINDS: dict[str, Callable[[Array], Array]] = {
    "float64": lambda latents: latents.astype(np.float64),
    "float16": lambda latents: latents.astype(np.float16),
    "whole numbers": lambda latents: latents.round().astype(np.int8),
    "unsigned": lambda latents: np.abs(latents.round()).astype(np.uint64),
    "big-endian": lambda latents: latents.astype(">f4"),
    "column by column": np.asfortranarray,
    "one latent": lambda latents: latents[:1],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_latents_of_any_kind_of_number(kind: str, save: Callable[..., None], tmp_path: Path) -> None:
    generator = make_generator()
    latents = KINDS[kind](sample_latents(0, 64, 5).numpy())
    save(tmp_path / "latents.npz", latents=latents)
    write(generator, "npz", latents=tmp_path / "latents.npz", out=tmp_path / "a.npz")
    arrays = arrays_in(tmp_path / "a.npz")
    converted = torch.from_numpy(np.array(latents, np.float32, order="C"))
    assert np.array_equal(arrays["latents"], converted.numpy())
    assert np.array_equal(arrays["images"], rendered(generator, converted).permute(0, 2, 3, 1).numpy())


GOOD = np.ones((4, 5), np.float32)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "none of that name": ({"latent": GOOD}, "there is none"),
    "nothing": ({}, "there is none"),
    "a scalar": ({"latents": np.float32(1)}, "float32 ()"),
    "one dimension": ({"latents": GOOD[0]}, "(5,)"),
    "three dimensions": ({"latents": GOOD[None]}, "(1, 4, 5)"),
    "too long": ({"latents": np.ones((4, 6))}, "(4, 6)"),
    "empty": ({"latents": GOOD[:0]}, "(0, 5)"),
    "NaN": ({"latents": np.where(np.eye(4, 5), np.nan, GOOD)}, "some are not"),
    "infinite": ({"latents": np.where(np.eye(4, 5), -np.inf, GOOD)}, "some are not"),
    "too large for float32": ({"latents": np.full((4, 5), 1e300)}, "some are not"),
    "truth values": ({"latents": GOOD > 0}, "bool"),
    "complex": ({"latents": GOOD + 1j}, "complex64"),
    "text": ({"latents": GOOD.astype(str)}, "it is <U"),
    "times": ({"latents": np.zeros((4, 5), "M8[s]")}, "datetime64"),
    "objects": ({"latents": GOOD.astype(object)}, "Object arrays cannot be loaded"),
    "classes too large": ({"latents": GOOD, "classes": np.full(4, 10)}, "from 0 to 9"),
    "classes below 0": ({"latents": GOOD, "classes": np.full(4, -1)}, "from 0 to 9"),
    "too few classes": ({"latents": GOOD, "classes": np.zeros(3, int)}, "4 of them"),
    "fractions as classes": ({"latents": GOOD, "classes": np.zeros(4)}, "whole numbers"),
    "one-hot classes": ({"latents": GOOD, "classes": np.eye(4, 10, dtype=int)}, "whole numbers"),
    "objects as classes": ({"latents": GOOD, "classes": np.array([0, 1, 2, None])}, "Object arrays"),
}


@pytest.mark.parametrize("name", BAD)
def test_latents_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    arrays, expected = BAD[name]
    file = tmp_path / "latents.npz"
    np.savez(file, **arrays)
    for mode, suffix in SUFFIXES.items():
        out = tmp_path / "new" / f"a{suffix}"
        assert expected in refusal("latents", make_generator(10), mode, latents=file, out=out)
    assert list(tmp_path.iterdir()) == [file]


def missing(_: Path) -> None:
    pass


def with_a_member(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("latents.npy", content)


def damaged(path: Path, at: float) -> None:
    np.savez_compressed(path, latents=np.random.default_rng(0).normal(size=(50, 5)))
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    path.write_bytes(content)


def huge(path: Path) -> None:
    """A header that promises more than any memory holds."""
    np.save(path.with_suffix(".npy"), GOOD)
    content = path.with_suffix(".npy").read_bytes()
    path.with_suffix(".npy").unlink()
    with_a_member(path, content.replace(b"(4, 5), }            ", b"(4000000000000, 5), }"))


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (missing, "No such file"),
    "a folder": (Path.mkdir, "Is a directory"),
    "text": (lambda path: path.write_text("hello"), "not a zip file"),
    "empty": (Path.touch, "not a zip file"),
    "an .npy file": (lambda path: path.write_bytes(b"\x93NUMPY" + b"\x01\x00" + bytes(200)), "not a zip file"),
    "cut off": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "not a zip file"),
    "no array": (lambda path: with_a_member(path, b"hello"), "it is |S5 ()"),
    "a broken header": (
        lambda path: with_a_member(path, b"\x93NUMPY\x01\x00\x05\x00{'a':"),
        "no .npz file that can be read",
    ),
    "damaged": (lambda path: damaged(path, 0.4), "no .npz file that can be read"),
    "damaged at its end": (lambda path: damaged(path, 0.99), "not a zip file"),
    "huge": (huge, "Unable to allocate"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_no_latents(name: str, tmp_path: Path) -> None:
    make, expected = FILES[name]
    file = tmp_path / "latents.npz"
    make(file)
    before = list(tmp_path.iterdir())
    words = refusal("latents", make_generator(), "grid", latents=file, out=tmp_path / "a.png")
    assert expected in words
    assert "pickle" not in words  # which numpy would tell how to allow
    assert list(tmp_path.iterdir()) == before


def test_what_does_not_go_with_given_latents(tmp_path: Path) -> None:
    np.savez(tmp_path / "latents.npz", latents=GOOD)
    given: dict[str, Any] = {"latents": tmp_path / "latents.npz", "out": tmp_path / "a.npz"}
    assert "latents=" in refusal("truncation", make_generator(), "npz", **given, truncation=1.0)
    assert "there are 4 latents" in refusal("num_images", make_generator(), "npz", **given, num_images=5)
    write(make_generator(), "npz", **given, num_images=4)


# Interpolation.


def film(path: Path) -> list[Array]:
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        assert {frame.info["duration"] for frame in ImageSequence.Iterator(gif)} == {60}
        return [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]


@pytest.mark.parametrize(
    ("given", "stops", "frames"),
    [({}, 4, 16), ({"stops": 3}, 3, 16), ({"stops": 2, "num_images": 7}, 2, 4), ({"num_images": 1}, 4, 1)],
)
def test_an_interpolation(given: dict[str, int], stops: int, frames: int, tmp_path: Path) -> None:
    """The strip and the film show the images of the path, and those at the stops are the stops' own."""
    generator = make_generator()
    words = write(generator, "interpolation", seed=3, **given, out=tmp_path / "a.png")
    latents = sample_latents(3, stops, 5)
    path = rendered(generator, closed_path(latents, frames))
    assert words.startswith(f"wrote a path of {stops * frames} images through {stops} latents to ")
    strip = pixels(tmp_path / "a.png")[:, :, 0]
    assert np.array_equal(strip, grid(path, columns=frames)[0].numpy())
    assert strip.shape == (stops * 11 + 2, frames * 11 + 2)
    shown = film(tmp_path / "a.gif")
    assert len(shown) == stops * frames
    for frame, image in zip(shown, path, strict=True):
        assert frame.shape == (126, 126)
        assert np.array_equal(frame[::14, ::14], image[0].numpy())
        assert np.array_equal(frame, np.kron(image[0].numpy(), np.ones((14, 14), np.uint8)))
    for frame, image in zip(shown[::frames], rendered(generator, latents), strict=True):
        assert np.abs(frame[::14, ::14].astype(int) - image[0].numpy()).max() <= 1  # at another place in the batch


@pytest.mark.parametrize(("classes", "shown"), [(None, [0]), ((7,), [7]), ((7, 3, 7), [7, 3, 7])])
def test_an_interpolation_in_classes(classes: tuple[int, ...] | None, shown: list[int], tmp_path: Path) -> None:
    """Below each other in the strip, and side by side in the film."""
    generator = make_generator(10)
    words = write(generator, "interpolation", classes=classes, stops=2, num_images=6, out=tmp_path / "a.png")
    assert f"in class {', '.join(map(str, shown))} to " in words
    path = closed_path(sample_latents(0, 2, 5), 3)
    ways = [rendered(generator, path, in_turn([each], 6)) for each in shown]
    strip = pixels(tmp_path / "a.png")[:, :, 0]
    assert np.array_equal(strip, grid(torch.cat(ways), columns=3)[0].numpy())
    for index, frame in enumerate(film(tmp_path / "a.gif")):
        together = grid(torch.stack([way[index] for way in ways]), rows=1)[0] if len(ways) > 1 else ways[0][index, 0]
        factor = 128 // together.shape[0]
        assert np.array_equal(frame[::factor, ::factor], together.numpy())


def test_a_large_image_is_not_enlarged(tmp_path: Path) -> None:
    generator = GENERATORS["mlp"](80, 3, latent_dim=5, hidden_sizes=(8,)).eval()
    write(generator, "interpolation", stops=2, num_images=2, out=tmp_path / "a.png")
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.size == (80, 80)


def test_an_interpolation_through_given_latents(tmp_path: Path) -> None:
    """All of them, in the classes that they have."""
    generator, file, out = make_generator(10), tmp_path / "latents.npz", tmp_path / "a.png"
    latents = sample_latents(9, 5, 5)
    np.savez(file, latents=latents.numpy(), classes=np.full(5, 7))
    words = write(generator, "interpolation", latents=file, num_images=8, stops=2, out=out)
    assert "a path of 10 images through 5 latents, in class 7 to" in words
    path = rendered(generator, closed_path(latents, 2), in_turn([7], 10))
    assert np.array_equal(pixels(out)[:, :, 0], grid(path, columns=2)[0].numpy())
    np.savez(file, latents=latents.numpy(), classes=np.array([7, 3, 3, 7, 7]))
    assert "in class 3, 7 to" in write(generator, "interpolation", latents=file, out=out)
    assert "in class 1 to" in write(generator, "interpolation", latents=file, classes=(1,), out=out)
    np.savez(file, latents=latents.numpy())
    assert "in class 0 to" in write(generator, "interpolation", latents=file, out=out)
    np.savez(file, latents=latents[:1].numpy())
    assert "at least 2" in refusal("latents", generator, "interpolation", latents=file, out=out)


@pytest.mark.parametrize("latents", [np.zeros((3, 5)), np.ones((2, 5)), np.outer([1, -1], np.ones(5))])
def test_an_interpolation_between_latents_without_a_circle(latents: Array, tmp_path: Path) -> None:
    np.savez(tmp_path / "latents.npz", latents=latents)
    write(make_generator(), "interpolation", latents=tmp_path / "latents.npz", out=tmp_path / "a.gif")
    assert pixels(tmp_path / "a.png").shape == (len(latents) * 11 + 2, 16 * 11 + 2, 1)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.GIF"])
def test_an_interpolation_is_two_files(name: str, tmp_path: Path) -> None:
    generator = make_generator()

    def write_it() -> str:
        return write(generator, "interpolation", stops=2, num_images=2, out=tmp_path / "new" / name)

    assert "replaced" not in write_it()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.png", "a.gif"}
    for kept in ("a.png", "a.gif"):
        (tmp_path / "new" / kept).unlink()
        assert "replaced what was there" in write_it()
    (tmp_path / "new" / "a.gif").unlink()
    (tmp_path / "new" / "a.gif").mkdir()
    before = (tmp_path / "new" / "a.png").stat().st_mtime_ns
    given: dict[str, Any] = {"seed": 1, "stops": 2, "out": tmp_path / "new" / name}
    assert "is a folder" in refusal("out", generator, "interpolation", **given)
    assert (tmp_path / "new" / "a.png").stat().st_mtime_ns == before


# Files.


@pytest.mark.parametrize(("mode", "name"), [("grid", "a.png"), ("npz", "a.npz")])
def test_a_file_is_replaced_and_that_is_said(mode: str, name: str, tmp_path: Path) -> None:
    generator = make_generator()
    write(generator, mode, num_images=2, out=tmp_path / name)
    first = (tmp_path / name).read_bytes()
    assert "replaced what was there" in write(generator, mode, seed=1, num_images=2, out=tmp_path / name)
    assert (tmp_path / name).read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_samplings_are_not_mixed(tmp_path: Path) -> None:
    generator = make_generator()
    (tmp_path / "empty").mkdir()
    write(generator, "images", num_images=2, out=tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 2
    (tmp_path / "file").write_text("")
    for name in ("empty", "file"):
        words = refusal("out", generator, "images", seed=1, num_images=3, out=tmp_path / name)
        assert "give a new folder" in words
    assert len(list((tmp_path / "empty").iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "file"}


@pytest.mark.parametrize(
    ("mode", "name", "suffix"),
    [
        ("grid", "a.jpg", ".png"),
        ("grid", ".png", ".png"),
        ("npz", "a", ".npz"),
        ("interpolation", "a.jpg", ".png or .gif"),
    ],
)
def test_a_wrong_suffix(mode: str, name: str, suffix: str, tmp_path: Path) -> None:
    words = refusal("out", make_generator(), mode, num_images=1, out=tmp_path / "new" / name)
    assert f"must be the name of a {suffix} file" in words
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["grid", "interpolation", "npz"])
def test_a_folder_in_the_place_of_a_file(mode: str, tmp_path: Path) -> None:
    out = tmp_path / f"a{SUFFIXES[mode]}"
    out.mkdir()
    assert "is a folder" in refusal("out", make_generator(), mode, num_images=1, out=out)
    assert list(tmp_path.rglob("*")) == [out]


@pytest.mark.parametrize("mode", SUFFIXES)
def test_what_cannot_be_written(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do the default names, which are named then."""
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / f"a{SUFFIXES[mode]}"
    assert "cannot be written" in refusal("out", make_generator(), mode, num_images=1, out=out)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    for name in ("save_png", "save_gif", "whole"):
        monkeypatch.setattr(modes, name, full)
    words = refusal("out", make_generator(), mode, num_images=1)
    assert words == f"out={modes.MODES[mode][0]}: cannot be written (No space left on device)"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", ["grid", "npz"])
def test_an_interrupted_writing_leaves_the_old_file(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{SUFFIXES[mode]}"
    write(make_generator(), mode, out=path)
    before = path.read_bytes()

    def half(*targets: Any, **_: object) -> None:
        partial = Path(targets[0].name) if mode == "npz" else targets[1]
        partial.write_bytes(before[:20])
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", half)
    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(KeyboardInterrupt):
        write(make_generator(), mode, seed=1, out=path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_images_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(modes, "save_png", full)
    words = refusal("out", make_generator(), "images", num_images=3, out=tmp_path / "images")
    assert "No space left" in words
    assert not any(tmp_path.iterdir())


def test_an_unknown_mode(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="did you mean grid"):
        write(make_generator(), "gird", num_images=1, out=tmp_path / "a.png")
