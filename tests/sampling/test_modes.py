from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.sampling.conftest import TinyGenerator, cut_cells, draw_bytes, read_gif, read_npz, read_png
from wgan_cli.errors import InputError, SettingError
from wgan_cli.networks.players import Batch
from wgan_cli.sampling import modes
from wgan_cli.sampling.draw import CHUNK, Inputs, cycle, draw_latents, interpolate, take_from
from wgan_cli.sampling.modes import write_grid, write_images, write_interpolation, write_npz
from wgan_cli.sampling.pictures import make_grid, save_png, to_bytes

COUNT = 70  # more than a chunk
WRITERS: dict[str, Any] = {mode: getattr(modes, f"write_{mode}") for mode in modes.MODES}


def make_batch(count: int, classes: list[int] | None = None, seed: int = 0) -> Batch:
    return Batch(draw_latents(seed, count, 5), None if classes is None else cycle(classes, count))


def make_inputs(count: int, classes: list[int] | None = None, seed: int = 0) -> Inputs:
    return take_from(*make_batch(count, classes, seed))


@pytest.mark.parametrize("classes", [None, [0, 1, 2]])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_modes_agree_pixel_by_pixel(classes: list[int] | None, channels: int, tmp_path: Path) -> None:
    generator = TinyGenerator(3 if classes else None, channels)
    inputs = make_inputs(COUNT, classes, seed=7)
    write_npz(generator, inputs, tmp_path / "a.npz", seed=7)
    arrays = read_npz(tmp_path / "a.npz")
    images, latents, seeds = (arrays[name] for name in ("images", "latents", "seeds"))
    assert set(arrays) == {"images", "latents", "seeds"} | ({"classes"} if classes else set())
    assert (images.dtype, images.shape) == (np.uint8, (COUNT, 9, 9, channels))
    assert (latents.dtype, latents.shape) == (np.float32, (COUNT, 5))
    assert (seeds.dtype, seeds.shape) == (np.int64, (COUNT,))
    if classes:
        assert (arrays["classes"].dtype, arrays["classes"].tolist()) == (np.int64, [k % 3 for k in range(COUNT)])
    assert write_images(generator, inputs, tmp_path / "images") == f"wrote 70 images to {tmp_path}/images/"
    files = sorted((tmp_path / "images").iterdir())
    names = [f"{index:06d}_c{index % 3}.png" if classes else f"{index:06d}.png" for index in range(COUNT)]
    assert [file.name for file in files] == names
    write_grid(generator, inputs, tmp_path / "a.png", classes or [])
    cells = cut_cells(read_png(tmp_path / "a.png", channels), labelled=24 if classes else 0)
    assert cells.shape[:2] == ((3, 24) if classes else (8, 9))
    for index, (image, file) in enumerate(zip(images, files, strict=True)):
        assert np.array_equal(read_png(file, channels), image)
        assert np.array_equal(cells[(index % 3, index // 3) if classes else divmod(index, 9)], image)
    # As documented, a seed gives its latent, and the latent and the class give their image.
    for index in (0, 1, COUNT - 1):
        latent = torch.randn(5, generator=torch.Generator().manual_seed(int(seeds[index])))
        assert np.array_equal(latent.numpy(), latents[index])
        alone = generator(latent[None], torch.tensor([index % 3]) if classes else None)
        difference = to_bytes(alone)[0].permute(1, 2, 0).numpy().astype(int) - images[index]
        assert np.abs(difference).max() <= 1  # a batch of one may round in another way


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (7, (3, 3)), (24, (3, 8))])
def test_a_grid_has_one_class_in_each_row(count: int, shape: tuple[int, int], tmp_path: Path) -> None:
    """There are no rows for classes without an image; the last column may not be full."""
    generator, inputs = TinyGenerator(10), make_inputs(count, [4, 1, 9])
    words = write_grid(generator, inputs, tmp_path / "a.png", [4, 1, 9])
    names = ", ".join(["c4", "c1", "c9"][:count])
    assert words == f"wrote a grid of {count} images to {tmp_path}/a.png; its rows are {names}"
    images = draw_bytes(generator, *make_batch(count, [4, 1, 9]))
    cells = cut_cells(read_png(tmp_path / "a.png"), labelled=shape[1])
    assert cells.shape[:2] == shape
    for index, image in enumerate(images):
        assert np.array_equal(cells[index % 3, index // 3, :, :, 0], image[0].numpy())
    assert np.count_nonzero(cells.any(axis=(2, 3, 4))) == count


@pytest.mark.parametrize(
    ("stops", "num_images", "frames", "own", "chosen", "shown"),
    [
        *((4, None, 16, None, [], []), (3, None, 16, None, [], []), (2, 7, 4, None, [], []), (4, 1, 1, None, [], [])),
        *((2, 6, 3, [7], [7], [7]), (2, 6, 3, [7, 3], [7, 3, 7], [7, 3, 7]), (3, 9, 3, [7, 3, 7], [], [3, 7])),
    ],
)
def test_an_interpolation(
    stops: int, num_images: int | None, frames: int, own: list[int] | None, chosen: list[int], shown: list[int],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Classes are one below the other in the strip and side by side in the film. By default, those of the latents."""
    generator, inputs = TinyGenerator(10 if own else None), make_batch(stops, own, seed=3)
    words = write_interpolation(generator, inputs, tmp_path / "a.png", chosen, num_images)
    part = f" in class{'es' if shown[1:] else ''} {', '.join(f'c{one}' for one in shown)}" if shown else ""
    assert words.startswith(f"wrote a path of {stops * frames} images through {stops} latents{part} to ")
    path = interpolate(inputs.samples, frames)
    ways = [draw_bytes(generator, path, cycle([one], len(path))) for one in shown] or [draw_bytes(generator, path)]
    strip = read_png(tmp_path / "a.png")
    assert cut_cells(strip).shape[:2] == (stops * len(ways), frames)
    assert np.array_equal(strip[:, :, 0], make_grid(torch.cat(ways), columns=frames)[0].numpy())
    film, durations = read_gif(tmp_path / "a.gif")
    assert durations == [60] * (stops * frames)
    for index, frame in enumerate(film):
        images = torch.stack([way[index] for way in ways])
        together = (make_grid(images, rows=1) if len(ways) > 1 else images[0])[0].numpy()
        factor = 128 // len(together)
        assert np.array_equal(frame, np.kron(together, np.ones((factor, factor), np.uint8)))


def test_a_large_frame_is_not_enlarged(tmp_path: Path) -> None:
    write_interpolation(TinyGenerator(channels=3, size=81), make_batch(2), tmp_path / "a.png", num_images=2)
    assert read_gif(tmp_path / "a.gif")[0][0].shape == (81, 81)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.GIF"])
def test_an_interpolation_is_two_files(name: str, tmp_path: Path) -> None:
    def write() -> str:
        return write_interpolation(TinyGenerator(), make_batch(2), tmp_path / "new" / name, num_images=2)

    assert write().endswith(f"to {tmp_path}/new/a.png and {tmp_path}/new/a.gif")
    for kept in ("a.png", "a.gif"):
        (tmp_path / "new" / kept).unlink()
        assert write().endswith("(overwritten)")
    (tmp_path / "new/a.gif").unlink()
    (tmp_path / "new/a.gif").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write()


def test_images_are_written_to_a_new_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_images(TinyGenerator(), make_inputs(2), tmp_path / "empty")
    (tmp_path / "file").touch()
    for name in ("empty", "file"):
        with pytest.raises(InputError, match="choose a new or empty folder"):
            WRITERS["images"](None, make_inputs(3), tmp_path / name)  # before anything is generated
    assert len(list((tmp_path / "empty").iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "file"}


@pytest.mark.parametrize(("mode", "name"), [("grid", "a.jpg"), ("npz", "a"), ("interpolation", "a.npz")])
def test_a_wrong_name_is_found_before_anything_is_generated(mode: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be the name of a"):
        WRITERS[mode](None, make_inputs(2), tmp_path / "new" / name)
    assert not any(tmp_path.iterdir())


FILES: dict[str, Callable[[Path, int], str]] = {
    "grid": lambda out, seed: write_grid(TinyGenerator(), make_inputs(2, seed=seed), out),
    "npz": lambda out, seed: write_npz(TinyGenerator(), make_inputs(2, seed=seed), out),
    "interpolation": lambda out, seed: write_interpolation(TinyGenerator(), make_batch(2, seed=seed), out),
}


@pytest.mark.parametrize("mode", FILES)
def test_files_are_written_completely_or_not_at_all(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / modes.MODES[mode][0]
    old = out.with_stem("old")
    FILES[mode](old, 0)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail_halfway(*targets: Any, **_: object) -> None:
        partial = Path(targets[0].filename) if mode == "npz" else targets[1]
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(modes, "_write_array", fail_halfway)
    monkeypatch.setattr(Image.Image, "save", fail_halfway)
    for path in (old, out):
        with pytest.raises(OSError, match="No space left on device"):
            FILES[mode](path, 1)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_the_first_images_stay_if_writing_fails(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def save(image: Tensor, path: Path) -> None:
        if path.stem == "000066":  # in the second chunk
            raise error
        save_png(image, path)

    monkeypatch.setattr(modes, "save_png", save)
    with pytest.raises(type(error)):
        write_images(TinyGenerator(), make_inputs(COUNT), tmp_path / "a")
    assert len(list((tmp_path / "a").iterdir())) == 66
    assert f"66 of 70 images are in {tmp_path}/a/" in caplog.text


def test_a_mount_point_is_as_good_as_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    write_images(TinyGenerator(), make_inputs(2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"lost+found", "000000.png", "000001.png"}


def test_any_number_of_images_is_drawn_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture needs all of them at once, and is refused if that is too much; an array and files do not."""
    monkeypatch.setattr(modes, "measure_free_memory", lambda: 3 * 81 * COUNT)
    generator = TinyGenerator()
    write_grid(generator, make_inputs(COUNT), tmp_path / "a.png")
    write_interpolation(generator, make_batch(2), tmp_path / "b.png", num_images=COUNT)
    with pytest.raises(SettingError, match=r"num_images=71: a picture of so many takes 0.0 GB, .*; mode=images and"):
        write_grid(generator, make_inputs(COUNT + 1), tmp_path / "a.png")
    with pytest.raises(SettingError, match=f"num_images={10**9}: "):
        write_interpolation(generator, make_batch(2), tmp_path / "b.png", num_images=10**9)
    made: list[int] = []

    def make(first: int, count: int) -> Batch:
        made.append(count)
        return make_batch(count, seed=first)

    write_npz(generator, Inputs(40 * CHUNK, make), tmp_path / "a.npz")
    write_images(generator, Inputs(2 * CHUNK, make), tmp_path / "images")
    assert max(made) == CHUNK
    assert len(read_npz(tmp_path / "a.npz")["images"]) == 40 * CHUNK
