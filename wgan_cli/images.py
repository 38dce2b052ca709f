"""Images as files: bytes, grids and PNGs."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PADDING = 2


def to_bytes(images: Tensor) -> Tensor:
    """Map images from [-1, 1] to 0 … 255 by one fixed map; what lies outside is cut off.

    Args:
        images: Float, any shape.

    Returns:
        uint8, the same shape, on the CPU. The inverse of what training does to a dataset's images.
    """
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Lay images out in rows, from the left and the top, on black.

    Args:
        images: uint8, (N, channels, height, width), N ≥ 1.
        columns: Images in a row; as many as make the grid about square where it is None.

    Returns:
        uint8, (channels, H, W), with 2 pixels around and between the images.
    """
    count, channels, height, width = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    canvas = images.new_zeros(channels, rows * (height + PADDING) + PADDING, columns * (width + PADDING) + PADDING)
    for index, image in enumerate(images):
        top = index // columns * (height + PADDING) + PADDING
        left = index % columns * (width + PADDING) + PADDING
        canvas[:, top : top + height, left : left + width] = image
    return canvas


def save_png(image: Tensor, path: Path) -> None:
    """Write one uint8 image (1 or 3 channels, height, width), whole or not at all."""
    pixels = image.permute(1, 2, 0).squeeze(2).numpy() if image.shape[0] == 1 else image.permute(1, 2, 0).numpy()
    partial = path.with_name(f".{path.name}.partial")
    try:
        Image.fromarray(pixels).save(partial, format="PNG")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
