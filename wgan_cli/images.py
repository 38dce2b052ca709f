"""Images as files: bytes, grids, PNGs and GIFs."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wgan_cli.files import whole

PADDING = 2


def to_bytes(images: Tensor) -> Tensor:
    """Map images from [-1, 1] to 0 … 255 by one fixed map; what lies outside is cut off.

    Args:
        images: Float, any shape.

    Returns:
        uint8, the same shape, on the CPU. The inverse of what training does to a dataset's images.
    """
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def grid(images: Tensor, columns: int | None = None, rows: int | None = None) -> Tensor:
    """Lay images out on black.

    Args:
        images: uint8, (N, channels, height, width), N ≥ 1.
        columns: Images in a row. The grid fills from the left, row by row; about square where this is None.
        rows: Images in a column, in place of ``columns``. The grid fills from the top, column by column.

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


def picture(image: Tensor) -> Image.Image:
    """Turn one uint8 image (1 or 3 channels, height, width) into Pillow's."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if image.shape[0] == 1 else pixels)


def save_png(image: Tensor, path: Path) -> None:
    """Write one uint8 image (1 or 3 channels, height, width), whole or not at all."""
    with whole(path) as partial:
        picture(image).save(partial, format="PNG")


def read_pictures(paths: Iterable[Path], side: int) -> list[Image.Image]:
    """Read pictures, and pass over those that cannot be read or are of another size than the first.

    Args:
        paths: Of the files.
        side: Larger ones are made smaller, to at most that many pixels a side.
    """
    found: list[Image.Image] = []
    for path in paths:
        # Pillow raises a SyntaxError or a ValueError where a file begins well and is damaged further on.
        with suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError), Image.open(path) as image:
            image.thumbnail((side, side))
            if not found or image.size == found[0].size:
                found.append(image.copy())
    return found


def save_gif(frames: Sequence[Image.Image], path: Path, milliseconds: int, hold: int = 0) -> None:
    """Write a looping animation, whole or not at all.

    Args:
        frames: At least one, all of one size. Grey ones keep their values; of colours, 256 are chosen for each frame.
        path: Where to.
        milliseconds: How long each frame is shown.
        hold: How much longer the last one is.
    """
    # Pillow's own way of choosing colours takes a hundred times as long.
    frames = [each if each.mode == "L" else each.quantize(method=Image.Quantize.FASTOCTREE) for each in frames]
    durations = [milliseconds] * (len(frames) - 1) + [milliseconds + hold]
    with whole(path) as partial:
        frames[0].save(
            partial, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False
        )
