"""A small generator and readers of pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor, nn

from tests.builders import uint8_images
from wgan_cli.networks.players import Generator
from wgan_cli.sampling.draw import draw
from wgan_cli.sampling.pictures import to_bytes

Array = np.ndarray[Any, Any]
SIZE = 9


class TinyGenerator(Generator):
    """Linear, BatchNorm and convolution layers, with enough contrast that no two images are equal."""

    def __init__(self, num_classes: int | None = None, channels: int = 1, size: int = SIZE) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.latent_dim, self.num_classes = 5, num_classes
        self.class_names = tuple(f"c{number}" for number in range(num_classes or 0))
        self.first = nn.Linear(5, 72)
        self.classes = nn.Embedding(num_classes or 1, 72)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.ConvTranspose2d(8, channels, size // 3, size // 3)
        nn.init.normal_(self.last.weight)
        nn.init.uniform_(self.norm.weight, 0.5, 2)
        self.eval().requires_grad_(False)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        assert (classes is None) == (self.num_classes is None)
        features = self.first(latents) if classes is None else self.first(latents) + self.classes(classes)
        images: Tensor = self.last(self.norm(features.view(-1, 8, 3, 3)).relu()).tanh()
        return images


def draw_bytes(generator: Generator, latents: Tensor, classes: Tensor | None = None) -> Tensor:
    return to_bytes(draw(generator, latents, classes))


def make_images(count: int, channels: int = 1, size: int = SIZE) -> Tensor:
    """Noise without black pixels, always the same."""
    return uint8_images(count, channels, size).clamp(min=1)


def read_png(path: Path, channels: int = 1) -> Array:
    """Height × width × channels."""
    with Image.open(path) as png:
        assert png.format == "PNG"
        pixels = np.array(png)
    return pixels.reshape(*pixels.shape[:2], channels)


def read_gif(path: Path, mode: str = "L") -> tuple[list[Array], list[int]]:
    """The frames as a viewer shows them, and the milliseconds of each."""
    with Image.open(path) as gif:
        assert (gif.format, gif.info["loop"]) == ("GIF", 0)  # 0: for ever
        frames = [(np.asarray(each.convert(mode)), int(each.info["duration"])) for each in ImageSequence.Iterator(gif)]
    return [frame for frame, _ in frames], [duration for _, duration in frames]


def read_npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def cut_cells(sheet: Array, labelled: int = 0, size: int = SIZE) -> Array:
    """Cut a grid (H, W, channels) into its cells (rows, columns, size, size, channels); all else must be black.

    If ``labelled``, it has this many columns, and beside each row there is a text.
    """
    step = size + 2
    if labelled:
        margin = sheet.shape[1] - labelled * step - 2
        texts = sheet[: -step % step, :margin]
        assert all(sheet[top : top + size, :margin].max() > 100 for top in range(2, len(sheet) - size, step))
        assert np.array_equal(texts, texts[:, :, :1].repeat(sheet.shape[2], 2))
        sheet = sheet[:, margin:]
    rows, columns = (sheet.shape[0] - 2) // step, (sheet.shape[1] - 2) // step
    assert sheet.shape[:2] == (rows * step + 2, columns * step + 2)
    rest = sheet.copy()
    cells = np.zeros((rows, columns, size, size, sheet.shape[2]), sheet.dtype)
    for row in range(rows):
        for column in range(columns):
            place = slice(row * step + 2, row * step + 2 + size), slice(column * step + 2, column * step + 2 + size)
            cells[row, column] = sheet[place]
            rest[place] = 0
    assert not rest.any()
    return cells
