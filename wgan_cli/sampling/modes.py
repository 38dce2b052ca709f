"""The modes of ``wgan-sample``. Each function writes its files and returns a sentence about them.

All of them take ``inputs``, the latents, float32 (N, latent_dim), and their classes, int64 (N,) or None. They raise
``InputError`` if ``out`` cannot be used, before they generate anything, and ``OSError`` if it cannot be written.
"""

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wgan_cli.errors import InputError, list_names
from wgan_cli.files import atomic_write
from wgan_cli.networks.players import Batch, Generator
from wgan_cli.sampling.draw import GRID_CLASSES, cycle, interpolate, render
from wgan_cli.sampling.output import check_file_name, make_folders
from wgan_cli.sampling.pictures import make_class_grid, make_grid, save_gif, save_png, to_bytes, to_picture

# The default of ``out``, and how many classes are shown if the user does not choose; None: all.
MODES: dict[str, tuple[str, int | None]] = {
    "grid": ("samples.png", GRID_CLASSES),
    "images": ("samples", None),
    "interpolation": ("interpolation.png", 1),
    "npz": ("samples.npz", None),
}
PATH_FRAMES = 16  # from one latent to the next by default
FRAME_MILLISECONDS = 60
FRAME_SIDE = 128  # smaller frames of an animation are enlarged, by a whole factor, to at most this height


def write_grid(generator: Generator, inputs: Batch, out: Path, rows: Sequence[int] = ()) -> str:
    """Write one PNG with all images.

    Args:
        generator: Generates the images.
        inputs: Its latents and classes.
        out: The PNG.
        rows: The classes that the inputs repeat in order. The grid then has one row for each.
    """
    check_file_name(out, ".png")
    images = _draw_bytes(generator, inputs)
    replaced = make_folders(out)
    classes = [(number, generator.class_names[number]) for number in rows[: len(images)]]
    save_png(make_class_grid(images, classes) if classes else make_grid(images), out)
    sentence = f"wrote a grid of {len(images):,} images to {out}{replaced}"
    num_classes = generator.num_classes or 0
    shortened = num_classes > GRID_CLASSES and list(rows) == list(range(GRID_CLASSES))
    part = f", the first {GRID_CLASSES} of {num_classes} classes" if shortened else ""
    return f"{sentence}; its rows are {list_names([name for _, name in classes])}{part}" if classes else sentence


def write_images(generator: Generator, inputs: Batch, out: Path) -> str:
    """Write a folder of PNGs, named by their number and class. It appears when all of them are written."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("already exists; choose a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    count = len(inputs.samples)
    digits = max(6, len(str(count - 1)))
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        partial = Path(temporary) / out.name
        partial.mkdir()
        images = (image for chunk in render(generator, *inputs) for image in to_bytes(chunk))
        for index, image in enumerate(images):
            save_png(image, partial / f"{index:0{digits}d}{_name_class(generator, inputs.classes, index)}.png")
        partial.replace(out)  # fails if another process has written there meanwhile
    return f"wrote {count:,} images to {out}{os.sep}"


def write_npz(generator: Generator, inputs: Batch, out: Path, seeds: Sequence[int] = ()) -> str:
    """Write arrays: images, uint8 (N, H, W, C), latents, float32 (N, latent_dim), and classes, int64 (N,), if any.

    Args:
        generator: Generates the images.
        inputs: Its latents and classes.
        out: The .npz file.
        seeds: Written as int64 (N,) if given. Unless components were drawn again for a truncation, ``latents[k]`` is
            ``torch.randn(latent_dim, generator=torch.Generator().manual_seed(seeds[k]))``.
    """
    check_file_name(out, ".npz")
    latents, classes = inputs
    arrays: dict[str, Any] = {
        "images": _draw_bytes(generator, inputs).permute(0, 2, 3, 1).numpy(),
        "latents": latents.numpy(),
    }
    if seeds:
        arrays["seeds"] = np.array(seeds)
    if classes is not None:
        arrays["classes"] = classes.numpy()
    replaced = make_folders(out)
    with atomic_write(out) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    others = ", ".join(name for name in arrays if name != "images")
    return f"wrote {len(latents):,} images {arrays['images'].shape} with {others} to {out}{replaced}"


def write_interpolation(
    generator: Generator, stops: Batch, out: Path, classes: Sequence[int] = (), num_images: int | None = None
) -> str:
    """Write a closed path through latents: a PNG with a row from each latent to the next, and a looping GIF.

    Args:
        generator: Generates the images.
        stops: The latents, at least 2, and their classes.
        out: The PNG or the GIF; the other is written beside it.
        classes: The path is shown in each of them: one below the other in the PNG, side by side in the GIF. By default
            these are the different classes of the stops.
        num_images: The length of the path, rounded up to a multiple of the stops; by default 16 from stop to stop.
    """
    strip, film = out.with_suffix(".png"), out.with_suffix(".gif")
    for file in (out, strip, film):
        check_file_name(file, ".png", ".gif")
    if not classes and stops.classes is not None:
        classes = stops.classes.unique().tolist()
    count = len(stops.samples)
    frames = PATH_FRAMES if num_images is None else -(-num_images // count)
    path = interpolate(stops.samples, frames)
    of_each = [cycle([one], len(path)) for one in classes] or [None]
    ways = [_draw_bytes(generator, Batch(path, one)) for one in of_each]
    replaced = make_folders(strip, film)
    save_png(make_grid(torch.cat(ways), columns=frames), strip)
    together = [make_grid(images, rows=1) if len(ways) > 1 else images[0] for images in torch.stack(ways, 1)]
    save_gif([_enlarge(to_picture(frame)) for frame in together], film, FRAME_MILLISECONDS)
    names = [generator.class_names[number] for number in classes]
    shown = f" in class{'es' if names[1:] else ''} {list_names(names)}" if names else ""
    return f"wrote a path of {len(path):,} images through {count} latents{shown} to {strip} and {film}{replaced}"


def _draw_bytes(generator: Generator, inputs: Batch) -> Tensor:
    """Draw images as uint8 (N, channels, height, width); one chunk at a time, as floats take four times the memory."""
    return torch.cat([to_bytes(chunk) for chunk in render(generator, *inputs)])


def _name_class(generator: Generator, classes: Tensor | None, index: int) -> str:
    """Return the end of an image's file name: its class, without characters that mean something in a path."""
    return "" if classes is None else "_" + re.sub(r"[^-\w]", "_", generator.class_names[int(classes[index])])


def _enlarge(frame: Image.Image) -> Image.Image:
    factor = max(1, FRAME_SIDE // frame.height)
    return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
