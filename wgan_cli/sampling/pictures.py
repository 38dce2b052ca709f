"""Images as bytes, grids, PNG files and GIF files."""

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wgan_cli.files import atomic_write

PADDING = 2
LABEL_SIZE, LABEL_LENGTH = 14, 16  # of a class name beside a grid: pixels high, and characters
FORMATS = ("PNG",)  # in the folder of a stranger, other files could reach a PostScript interpreter


def to_bytes(images: Tensor) -> Tensor:
    """Map images from [-1, 1] to 0 … 255. Values outside are clamped.

    The map does not depend on an image's minimum or maximum. It inverts training's scaling of a dataset.

    Args:
        images: Float, any shape.

    Returns:
        uint8, the same shape, on the CPU.
    """
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def make_grid(images: Tensor, columns: int | None = None, rows: int | None = None) -> Tensor:
    """Arrange images in a grid on black.

    Args:
        images: uint8, (N, channels, height, width), N ≥ 1.
        columns: Images in a row. The grid is filled row by row. None makes it about square.
        rows: Images in a column, instead of ``columns``. The grid is filled column by column.

    Returns:
        uint8, (channels, H, W), with 2 pixels around and between the images.
    """
    count, channels, height, width = images.shape
    down, across = PADDING + height, PADDING + width
    major = rows or columns or int(np.ceil(np.sqrt(count)))
    minor = -(-count // major)
    shape = (major, minor) if rows else (minor, major)
    canvas = images.new_zeros(channels, shape[0] * down + PADDING, shape[1] * across + PADDING)
    for index, image in enumerate(images):
        outer, inner = divmod(index, major)
        row, column = (inner, outer) if rows else (outer, inner)
        top, left = row * down + PADDING, column * across + PADDING
        canvas[:, top : top + height, left : left + width] = image
    return canvas


def make_class_grid(images: Tensor, classes: Sequence[tuple[int, str]]) -> Tensor:
    """Arrange images in a grid with a row for each class, and its name beside it.

    Args:
        images: uint8, (N, channels, height, width), N ≥ 1. Image k is of class k mod the number of classes.
        classes: Their numbers and names. The number is shown where the name cannot be written in ASCII.

    Returns:
        uint8, (channels, H, W).
    """
    grid = make_grid(images, rows=len(classes))
    down = PADDING + images.shape[2]
    font = ImageFont.load_default(min(LABEL_SIZE, down))
    labels = [_to_ascii(name)[:LABEL_LENGTH] or str(number) for number, name in classes]
    width = max(round(font.getlength(label)) for label in labels) + 2 * PADDING
    margin = Image.new("L", (width, grid.shape[1]))
    for row, label in enumerate(labels):
        middle = PADDING + row * down + images.shape[2] // 2
        ImageDraw.Draw(margin).text((width - PADDING, middle), label, fill=255, font=font, anchor="rm")
    column = torch.from_numpy(np.array(margin)).expand(len(grid), -1, -1)
    return torch.cat([column, grid], 2)


def _to_ascii(name: str) -> str:
    """Return a name without accents, or nothing if that is not ASCII. The embedded font has no other letters."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    return plain if plain.isascii() and plain.isprintable() else ""


def to_picture(image: Tensor) -> Image.Image:
    """Convert a uint8 image (1 or 3 channels, height, width) to a Pillow image."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if image.shape[0] == 1 else pixels)


def save_png(image: Tensor, path: Path) -> None:
    """Write a uint8 image (1 or 3 channels, height, width) completely or not at all."""
    with atomic_write(path) as partial:
        to_picture(image).save(partial, format="PNG")


def save_gif(frames: Sequence[Image.Image], path: Path, milliseconds: int, hold: int = 0) -> None:
    """Write a looping animation completely or not at all.

    Args:
        frames: At least one, all of the same size. Grey frames keep their values; colours are reduced to 256 a frame.
        path: The file.
        milliseconds: The time of each frame.
        hold: Additional time of the last frame, in milliseconds.
    """
    # Pillow's default choice of colours takes a hundred times as long.
    frames = [each if each.mode == "L" else each.quantize(method=Image.Quantize.FASTOCTREE) for each in frames]
    durations = [milliseconds] * (len(frames) - 1) + [milliseconds + hold]
    with atomic_write(path) as partial:
        frames[0].save(
            partial, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False
        )


def read_pictures(paths: Iterable[Path], side: int) -> list[Image.Image]:
    """Read pictures, shrunk to at most ``side`` pixels a side.

    Files that cannot be read, and pictures that differ in size from the first, are skipped.
    """
    pictures: list[Image.Image] = []
    for path in paths:
        # Pillow raises SyntaxError or ValueError for a file that is damaged after its header.
        with (
            suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError),
            Image.open(path, formats=FORMATS) as image,
        ):
            image.thumbnail((side, side))
            if not pictures or image.size == pictures[0].size:
                pictures.append(image.copy())
    return pictures
