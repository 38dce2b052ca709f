"""The modes of ``wgan-sample``. Each function writes its files and returns a sentence about them.

They raise ``InputError`` if ``out`` cannot be used, before they generate anything, and ``OSError`` if it cannot be
written.
"""

import logging
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from wgan_cli.errors import InputError, SettingError, list_names
from wgan_cli.files import atomic_write
from wgan_cli.limits import measure_free_memory
from wgan_cli.networks.players import Batch, Generator
from wgan_cli.sampling.draw import (
    CHUNK,
    GRID_CLASSES,
    Inputs,
    cycle,
    derive_latent_seeds,
    interpolate,
    render,
    take_from,
)
from wgan_cli.sampling.output import check_file_name, make_folders
from wgan_cli.sampling.pictures import make_class_grid, make_grid, save_gif, save_png, to_bytes, to_picture

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

# The default of ``out``, and how many classes are shown if the user does not choose; None: all.
MODES: dict[str, tuple[str, int | None]] = {
    "grid": ("samples.png", GRID_CLASSES),
    "images": ("samples", None),
    "interpolation": ("interpolation.png", 1),
    "npz": ("samples.npz", None),
}
PATH_FRAMES = 16  # from one latent to the next by default
FRAME_MILLISECONDS = 60
MOUNTED = "lost+found"  # what an empty file system may contain
COPIES = 3  # of its images that drawing a picture holds in memory
UNSAFE = r"[^-\w]"  # characters of a class name that a file name should not have
FRAME_SIDE = 128  # smaller frames of an animation are enlarged, by a whole factor, to at most this height


def write_grid(generator: Generator, inputs: Inputs, out: Path, rows: Sequence[int] = ()) -> str:
    """Write one PNG with all images.

    Args:
        generator: Generates the images.
        inputs: Its latents and classes.
        out: The PNG.
        rows: The classes that the inputs repeat in order. The grid then has one row for each.
    """
    check_file_name(out, ".png")
    _require_memory(generator, inputs, inputs.count)
    images = _draw_bytes(generator, inputs)
    replaced = make_folders(out)
    classes = [(number, generator.class_names[number]) for number in rows[: len(images)]]
    save_png(make_class_grid(images, classes) if classes else make_grid(images), out)
    sentence = f"wrote a grid of {len(images):,} images to {out}{replaced}"
    num_classes = generator.num_classes or 0
    shortened = num_classes > GRID_CLASSES and list(rows) == list(range(GRID_CLASSES))
    part = f", the first {GRID_CLASSES} of {num_classes} classes" if shortened else ""
    return f"{sentence}; its rows are {list_names([name for _, name in classes])}{part}" if classes else sentence


def write_images(generator: Generator, inputs: Inputs, out: Path) -> str:
    """Write PNGs, named by their number and class, into a new or empty folder. If it fails, the first images stay."""
    if out.exists() and (not out.is_dir() or any(path.name != MOUNTED for path in out.iterdir())):
        raise InputError("already exists; choose a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    digits = max(6, len(str(inputs.count - 1)))
    index = 0
    try:
        for images, chunk in zip(_render_bytes(generator, inputs), inputs, strict=True):
            for image, ending in zip(images, _name_classes(generator, chunk), strict=True):
                save_png(image, out / f"{index:0{digits}d}{ending}.png")
                index += 1
    except (KeyboardInterrupt, OSError):
        log.warning("%s of %s images are in %s%s", f"{index:,}", f"{inputs.count:,}", out, os.sep)
        raise
    return f"wrote {index:,} images to {out}{os.sep}"


def write_npz(generator: Generator, inputs: Inputs, out: Path, seed: int | None = None) -> str:
    """Write arrays: images, uint8 (N, H, W, C), latents, float32 (N, latent_dim), and classes, int64 (N,), if any.

    They are written in chunks, so they need not fit into memory.

    Args:
        generator: Generates the images.
        inputs: Its latents and classes.
        out: The .npz file.
        seed: If given, the seeds that were derived from it are written as seeds, int64 (N,). Unless components were
            drawn again for a truncation, ``latents[k]`` is
            ``torch.randn(latent_dim, generator=torch.Generator().manual_seed(seeds[k]))``.
    """
    check_file_name(out, ".npz")
    arrays: dict[str, Iterator[Array]] = {
        "images": (images.permute(0, 2, 3, 1).contiguous().numpy() for images in _render_bytes(generator, inputs)),
        "latents": (chunk.samples.numpy() for chunk in inputs),
    }
    if seed is not None:
        firsts = range(0, inputs.count, CHUNK)
        arrays["seeds"] = (
            np.array(derive_latent_seeds(seed, min(CHUNK, inputs.count - first), first)) for first in firsts
        )
    if inputs.make(0, 1).classes is not None:
        arrays["classes"] = (chunk.classes.numpy() for chunk in inputs if chunk.classes is not None)
    replaced = make_folders(out)
    with atomic_write(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        shapes = {name: _write_array(archive, name, inputs.count, parts) for name, parts in arrays.items()}
    others = ", ".join(name for name in arrays if name != "images")
    return f"wrote {inputs.count:,} images {shapes['images']} with {others} to {out}{replaced}"


def _write_array(archive: zipfile.ZipFile, name: str, count: int, parts: Iterator[Array]) -> tuple[int, ...]:
    """Write one array of an .npz file, and return its shape, (count, ...)."""
    part = next(parts)
    shape = (count, *part.shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(part.dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for each in chain([part], parts):
            member.write(each.tobytes())
    return shape


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
    _require_memory(generator, take_from(*stops), count * frames * max(1, len(classes)))
    path = interpolate(stops.samples, frames)
    of_each = [cycle([one], len(path)) for one in classes] or [None]
    ways = [_draw_bytes(generator, take_from(path, one)) for one in of_each]
    replaced = make_folders(strip, film)
    save_png(make_grid(torch.cat(ways), columns=frames), strip)
    together = [make_grid(images, rows=1) if len(ways) > 1 else images[0] for images in torch.stack(ways, 1)]
    save_gif([_enlarge(to_picture(frame)) for frame in together], film, FRAME_MILLISECONDS)
    names = [generator.class_names[number] for number in classes]
    shown = f" in class{'es' if names[1:] else ''} {list_names(names)}" if names else ""
    return f"wrote a path of {len(path):,} images through {count} latents{shown} to {strip} and {film}{replaced}"


def _render_bytes(generator: Generator, inputs: Inputs) -> Iterator[Tensor]:
    """Generate images in chunks, uint8 (N, channels, height, width), with a progress bar."""
    with tqdm(total=inputs.count, desc="drawing", unit="image", leave=False, disable=None) as bar:
        for chunk in render(generator, inputs):
            yield to_bytes(chunk)
            bar.update(len(chunk))


def _draw_bytes(generator: Generator, inputs: Inputs) -> Tensor:
    """Generate images all at once, uint8 (N, channels, height, width)."""
    return torch.cat(list(_render_bytes(generator, inputs)))


def _require_memory(generator: Generator, inputs: Inputs, count: int) -> None:
    """Check that a picture of ``count`` images fits into memory, by the size of the first ones.

    Raises:
        SettingError: For ``num_images``, if it does not.
    """
    size = COPIES * count * next(iter(render(generator, inputs)))[0].numel()
    if size > (free := measure_free_memory()):
        needed = f"a picture of so many takes {size / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB of memory are free"
        raise SettingError("num_images", count, f"{needed}; mode=images and mode=npz take any number")


def _name_classes(generator: Generator, chunk: Batch) -> list[str]:
    """Return the ends of the images' file names: their classes, without characters that mean something in a path."""
    if chunk.classes is None:
        return [""] * len(chunk.samples)
    return [f"_{re.sub(UNSAFE, '_', generator.class_names[number])}" for number in chunk.classes.tolist()]


def _enlarge(frame: Image.Image) -> Image.Image:
    factor = max(1, FRAME_SIDE // frame.height)
    return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
