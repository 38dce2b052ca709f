from pathlib import Path

import numpy as np
import pytest
import torch

from tests.sampling.conftest import SIZE, cut_cells, make_images, read_gif
from wgan_cli.sampling.pictures import (
    make_class_grid,
    make_grid,
    read_pictures,
    save_gif,
    save_png,
    to_bytes,
    to_picture,
)


def test_the_map_to_bytes_is_fixed() -> None:
    values = torch.tensor([-1.0, 1.0, 0.0, -7.0, 7.0, -1 + 2 / 255, 1 - 2 / 255])
    assert to_bytes(values).tolist() == [0, 255, 128, 0, 255, 1, 254]  # 127.5 is rounded to even
    assert to_bytes(values.bfloat16()).dtype == torch.uint8
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(every.float().div(127.5).sub(1)), every)  # what training makes of bytes
    assert to_bytes(torch.tensor([-0.1, 0.1])).tolist() == [115, 140]  # a dull image is not stretched


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("count", "given", "shape"),
    [
        *((1, {}, (1, 1)), (2, {}, (1, 2)), (5, {}, (2, 3)), (64, {}, (8, 8)), (5, {"columns": 5}, (1, 5))),
        *((7, {"columns": 2}, (4, 2)), (7, {"rows": 2}, (2, 4)), (2, {"rows": 3}, (3, 1)), (5, {"rows": 1}, (1, 5))),
    ],
)
def test_grid(count: int, given: dict[str, int], shape: tuple[int, int], channels: int) -> None:
    """It is filled row by row, or column by column if the number of rows is given. All else is black."""
    images = make_images(count, channels)
    canvas = make_grid(images, **given)
    cells = cut_cells(canvas.permute(1, 2, 0).numpy())
    assert cells.shape[:2] == shape
    for index, image in enumerate(images):
        place = (index % shape[0], index // shape[0]) if "rows" in given else divmod(index, shape[1])
        assert np.array_equal(cells[place], image.permute(1, 2, 0).numpy())
    assert int((canvas > 0).sum()) == images.numel()


def test_the_name_beside_a_row_or_else_the_number() -> None:
    """The embedded font has ASCII letters only. Names that it can show without their accents are shown so."""

    def margin(number: int, name: str) -> torch.Tensor:
        return make_class_grid(make_images(1), [(number, name)])[:, :, : -(SIZE + 4)]

    assert torch.equal(margin(0, "café"), margin(0, "cafe"))
    assert torch.equal(margin(7, "猫"), margin(0, "7"))
    assert torch.equal(margin(7, "a\n"), margin(0, "7"))
    assert torch.equal(margin(0, 16 * "a" + "b"), margin(0, 16 * "a"))
    assert not torch.equal(margin(0, "7"), margin(0, "8"))


def test_a_gif_shows_each_frame_for_its_time(tmp_path: Path) -> None:
    first, second, third = map(to_picture, make_images(3))
    save_gif([first, second, third], tmp_path / "a.gif", 60)
    assert read_gif(tmp_path / "a.gif")[1] == [60, 60, 60]
    save_gif([first, second, second, third], tmp_path / "a.gif", 60, hold=1500)
    assert read_gif(tmp_path / "a.gif")[1] == [60, 120, 1560]  # Pillow merges equal frames


RAMP = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
DARK = torch.zeros_like(RAMP)
SPOT = RAMP.clone()
SPOT[0, 3, 5] = 200
GREY = [RAMP, SPOT, 255 - RAMP, DARK, RAMP, DARK + 255, SPOT + 1]  # they differ everywhere, in one pixel, or hardly
COLOURS = [torch.cat(parts) for parts in ([RAMP, DARK, DARK], [DARK, RAMP, DARK], [DARK, DARK, RAMP])]


@pytest.mark.parametrize(("images", "mode", "tolerance"), [(GREY, "L", 0), (COLOURS, "RGB", 8)])
def test_a_gif_keeps_grey_values_and_reduces_colours(
    images: list[torch.Tensor], mode: str, tolerance: int, tmp_path: Path
) -> None:
    """To 256 for each frame, from an octree, whose corners are at most 8 levels off."""
    pictures = [to_picture(image) for image in images]
    save_gif(pictures, tmp_path / "a.gif", 60)
    for frame, picture in zip(read_gif(tmp_path / "a.gif", mode)[0], pictures, strict=True):
        assert np.abs(frame.astype(int) - np.asarray(picture)).max() <= tolerance


def test_unusable_pictures_are_skipped(tmp_path: Path) -> None:
    images = make_images(3, size=40)
    a, b, c, cut, flipped, text, none, folder, large = (tmp_path / f"{number}.png" for number in range(9))
    for image, path in zip(images, (a, b, c), strict=True):
        save_png(image, path)
    content = a.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    flipped.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    text.write_text("not a picture")
    folder.mkdir()
    save_png(make_images(1, size=41)[0], large)
    pictures = read_pictures([cut, flipped, text, none, a, folder, b, large, c], 64)
    assert [np.asarray(each).tolist() for each in pictures] == images[:, 0].tolist()
    assert read_pictures([], 64) == read_pictures([none], 64) == []
    assert [each.size for each in read_pictures([a], 25)] == [(25, 25)]


def test_a_picture_with_any_damaged_byte_is_read_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save_png(make_images(1, size=16)[0], path)
    content = path.read_bytes()
    for at in range(8, 120):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert len(read_pictures([path], 64)) <= 1
