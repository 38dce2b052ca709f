from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.builders import uint8_images
from wgan_cli.images import grid, save_png, to_bytes


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


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png(channels: int, mode: str, tmp_path: Path) -> None:
    image = uint8_images(1, channels, 9)[0]
    save_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as png:
        assert (png.format, png.mode) == ("PNG", mode)
        pixels = np.asarray(png).reshape(9, 9, channels)
    assert np.array_equal(pixels, image.permute(1, 2, 0).numpy())


def test_a_png_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = uint8_images(1)[0]
    save_png(image, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def half(_: Image.Image, path: Path, **__: object) -> None:
        Path(path).write_bytes(before[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="No space"):
        save_png(image.flip(1), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before
