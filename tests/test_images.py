from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from tests.builders import uint8_images
from wgan_cli.files import whole
from wgan_cli.images import grid, picture, read_pictures, save_gif, save_png, to_bytes


def test_the_map_to_bytes_is_fixed() -> None:
    values = torch.tensor([-1.0, 1.0, 0.0, -7.0, 7.0, -1 + 2 / 255, 1 - 2 / 255])
    assert to_bytes(values).tolist() == [0, 255, 128, 0, 255, 1, 254]  # 127.5 is rounded to even
    assert to_bytes(values.bfloat16()).dtype == torch.uint8


def test_every_byte_survives_what_training_does_to_it() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(every.float().div(127.5).sub(1)), every)


def test_a_dull_image_is_not_stretched() -> None:
    dull = torch.linspace(-0.1, 0.1, 64).view(1, 1, 8, 8)
    bright = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    alone, together = to_bytes(dull), to_bytes(torch.cat([dull, bright]))
    assert torch.equal(alone[0], together[0])
    assert (alone.min().item(), alone.max().item()) == (115, 140)


@pytest.mark.parametrize(
    ("count", "columns", "rows_columns"),
    [(1, None, (1, 1)), (2, None, (1, 2)), (5, None, (2, 3)), (64, None, (8, 8)), (5, 5, (1, 5)), (7, 2, (4, 2))],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_grid(count: int, columns: int | None, rows_columns: tuple[int, int], channels: int) -> None:
    images = uint8_images(count, channels, 8).clamp(min=1)
    canvas = grid(images, columns)
    rows, across = rows_columns
    assert canvas.shape == (channels, rows * 10 + 2, across * 10 + 2)
    for index, image in enumerate(images):
        top, left = index // across * 10 + 2, index % across * 10 + 2
        assert torch.equal(canvas[:, top : top + 8, left : left + 8], image)
    assert int((canvas > 0).sum()) == images.numel()  # all else is black


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (6, 2, 3), (7, 2, 4), (3, 3, 1), (2, 3, 1), (5, 1, 5)]
)
def test_a_grid_of_so_many_rows_fills_column_by_column(count: int, rows: int, columns: int) -> None:
    images = uint8_images(count, 1, 8).clamp(min=1)
    canvas = grid(images, rows=rows)
    assert canvas.shape == (1, rows * 10 + 2, columns * 10 + 2)
    for index, image in enumerate(images):
        top, left = index % rows * 10 + 2, index // rows * 10 + 2
        assert torch.equal(canvas[:, top : top + 8, left : left + 8], image)
    assert int((canvas > 0).sum()) == images.numel()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png(channels: int, mode: str, tmp_path: Path) -> None:
    image = uint8_images(1, channels, 9)[0]
    save_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as png:
        assert (png.format, png.mode) == ("PNG", mode)
        pixels = np.asarray(png).reshape(9, 9, channels)
    assert np.array_equal(pixels, image.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_picture_is_written_whole_or_not_at_all(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a.{kind}"

    def write(image: torch.Tensor) -> None:
        if kind == "png":
            save_png(image, path)
        else:
            save_gif([picture(image), picture(image.flip(2))], path, 50)

    image = uint8_images(1)[0]
    write(image)
    before = path.read_bytes()

    def half(_: Image.Image, path: Path, **__: object) -> None:
        Path(path).write_bytes(before[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", half)
        with pytest.raises(OSError, match="No space"):
            write(image.flip(1))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    write(image.flip(1))
    assert path.read_bytes() != before


def test_a_file_whose_writer_is_interrupted_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with whole(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]
    with whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "new")]


def frames_of(path: Path, mode: str) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """What a viewer shows, frame after frame."""
    with Image.open(path) as gif:
        return [np.asarray(frame.convert(mode)) for frame in ImageSequence.Iterator(gif)]


def durations_of(path: Path) -> list[int]:
    with Image.open(path) as gif:
        return [int(frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]


def test_a_gif_has_its_frames_and_their_times_and_loops(tmp_path: Path) -> None:
    images = uint8_images(5, 1, 16)
    save_gif([picture(image) for image in images], tmp_path / "a.gif", 60)
    save_gif([picture(image) for image in images], tmp_path / "held.gif", 60, hold=1500)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.format, gif.size, gif.info["loop"]) == ("GIF", (16, 16), 0)  # 0: for ever
    assert durations_of(tmp_path / "a.gif") == [60] * 5
    assert durations_of(tmp_path / "held.gif") == [60, 60, 60, 60, 1560]


def test_a_gif_keeps_grey_values(tmp_path: Path) -> None:
    """All 256 of them, in frames that differ everywhere, in one pixel, or hardly at all."""
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    spot = ramp.clone()
    spot[0, 3, 5] = 200
    images = [ramp, spot, 255 - ramp, torch.zeros_like(ramp), ramp, torch.full_like(ramp, 255), spot + 1]
    save_gif([picture(image) for image in images], tmp_path / "a.gif", 60)
    found = frames_of(tmp_path / "a.gif", "L")
    assert len(found) == len(images)
    for frame, image in zip(found, images, strict=True):
        assert np.array_equal(frame, image[0].numpy())


def test_a_gif_of_colours(tmp_path: Path) -> None:
    """256 are chosen for each frame: here of as many, and from an octree, whose corners are 8 levels off at most."""
    images = torch.zeros(3, 3, 16, 16, dtype=torch.uint8)
    for index, image in enumerate(images):
        image[index] = torch.arange(256).view(16, 16)
    save_gif([picture(image) for image in images], tmp_path / "a.gif", 60)
    found = frames_of(tmp_path / "a.gif", "RGB")
    assert len(found) == 3
    for frame, image in zip(found, images, strict=True):
        assert np.abs(frame.astype(int) - image.permute(1, 2, 0).numpy()).max() <= 8


def test_frames_that_do_not_differ_take_their_time_all_the_same(tmp_path: Path) -> None:
    """Pillow writes them as one that is shown for longer."""
    first, second = (picture(image) for image in uint8_images(2, 1, 16))
    save_gif([first, first, second, second], tmp_path / "a.gif", 50, hold=100)
    assert sum(durations_of(tmp_path / "a.gif")) == 4 * 50 + 100
    save_gif([first], tmp_path / "one.gif", 50)
    assert np.array_equal(frames_of(tmp_path / "one.gif", "L")[0], np.asarray(first))


def test_pictures_that_cannot_be_used_are_passed_over(tmp_path: Path) -> None:
    images = uint8_images(3, 1, 40)
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png", "cut.png", "flipped.png", "text.png", "none.png")]
    for image, path in zip(images, paths, strict=False):
        save_png(image, path)
    whole_file = paths[0].read_bytes()
    paths[3].write_bytes(whole_file[: len(whole_file) // 2])
    paths[4].write_bytes(whole_file[:20] + bytes([whole_file[20] ^ 1]) + whole_file[21:])
    paths[5].write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    save_png(uint8_images(1, 1, 41)[0], tmp_path / "large.png")
    found = read_pictures(
        [*paths[3:], paths[0], tmp_path / "folder.png", paths[1], tmp_path / "large.png", paths[2]], 64
    )
    assert [np.asarray(each).tolist() for each in found] == images[:, 0].tolist()
    assert read_pictures([], 64) == read_pictures([paths[6]], 64) == []


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    save_png(uint8_images(1, 3, 40)[0], tmp_path / "a.png")
    assert [each.size for each in read_pictures([tmp_path / "a.png"], 25)] == [(25, 25)]


@pytest.mark.parametrize("at", range(8, 120, 7))
def test_a_damaged_picture_is_read_or_passed_over(at: int, tmp_path: Path) -> None:
    """Whichever byte it is."""
    save_png(uint8_images(1, 1, 16)[0], tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[at] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    assert len(read_pictures([tmp_path / "a.png"], 64)) <= 1
