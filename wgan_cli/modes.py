"""The modes of ``wgan-sample``: what it makes of a generator's images, each file written whole or not at all."""

import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wgan_cli.files import whole
from wgan_cli.images import grid, picture, save_gif, save_png
from wgan_cli.output import make_way, require_file, writing
from wgan_cli.parameters import SettingError, choose, path_of
from wgan_cli.players import Generator
from wgan_cli.sampling import (
    GRID_CLASSES,
    GRID_COLUMNS,
    GRID_IMAGES,
    classes_of,
    closed_path,
    draw,
    image_seeds,
    in_turn,
    render,
    sample_latents,
)
from wgan_cli.settings import SampleSettings

PATH_FRAMES = 16  # from one latent to the next, where num_images does not say how many there are in all
FRAME_MILLISECONDS = 60
FRAME_SIDE = 128  # smaller frames of an animation are enlarged to about this, in whole steps


@dataclass(frozen=True)
class Inputs:
    """What a generator is asked for.

    Attributes:
        latents: float32, (N, latent_dim).
        classes: int64, (N,), or None where the generator has none.
        in_turn: The classes of which ``classes`` shows one after the other, if it does.
    """

    latents: Tensor
    classes: Tensor | None
    in_turn: list[int]


def write_samples(generator: Generator, settings: SampleSettings) -> str:
    """Write what the settings ask for; return what was written.

    Raises:
        SettingError: If they cannot be met, or it cannot be written there.
    """
    name, mode = choose(MODES, {"name": settings.mode}, "mode")
    out = path_of(name if settings.out is None else settings.out, "out")
    with writing(out):
        return mode(generator, settings, out)


def write_grid(generator: Generator, settings: SampleSettings, out: Path) -> str:
    """Write one PNG with all images in rows, a class a row where there are classes; return what was written.

    Where nobody chose the classes, it shows the first 16. Latents that come with classes of their own keep their order.
    """
    require_file(out, ".png")
    classes = _chosen_classes(generator, settings)
    rows = classes if settings.classes else classes[:GRID_CLASSES]
    inputs = _inputs(generator, settings, rows, settings.num_images, len(rows) * GRID_COLUMNS or GRID_IMAGES)
    count = len(inputs.latents)
    images = draw(generator, inputs.latents, inputs.classes)
    replaced = make_way(out)
    save_png(grid(images, rows=min(len(inputs.in_turn), count) or None), out)
    part = f" of the first {len(rows)} of {len(classes)} classes" if len(inputs.in_turn) < len(classes) else ""
    return f"wrote a grid of {count:,} images{part if inputs.in_turn else ''} to {out}{replaced}"


def write_images(generator: Generator, settings: SampleSettings, out: Path) -> str:
    """Write a folder of numbered PNGs, image k in the k-th; return what was written."""
    inputs = _inputs(generator, settings, _chosen_classes(generator, settings), settings.num_images)
    count = len(inputs.latents)
    _require_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    digits = max(6, len(str(count - 1)))
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        partial = Path(temporary) / out.name
        partial.mkdir()
        chunks = render(generator, inputs.latents, inputs.classes)
        for index, image in enumerate(image for chunk in chunks for image in chunk):
            save_png(image, partial / f"{index:0{digits}d}.png")
        _require_new(out)  # still
        partial.replace(out)
    return f"wrote {count:,} images to {out}{os.sep}"


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError("out", folder, "exists already, and images of two samplings would mix; give a new folder")


def write_npz(generator: Generator, settings: SampleSettings, out: Path) -> str:
    """Write arrays: images uint8 (N, H, W, C), latents float32 (N, latent_dim), seeds int64 (N,), classes int64 (N,).

    ``latents[k]`` is ``torch.randn(latent_dim, generator=torch.Generator().manual_seed(seeds[k]))``, but for what a
    truncation drew again; there are no seeds where the latents were given, and no classes where there are none.
    """
    require_file(out, ".npz")
    inputs = _inputs(generator, settings, _chosen_classes(generator, settings), settings.num_images)
    count = len(inputs.latents)
    arrays = {
        "images": draw(generator, inputs.latents, inputs.classes).permute(0, 2, 3, 1).numpy(),
        "latents": inputs.latents.numpy(),
    }
    if settings.latents is None:
        arrays["seeds"] = np.array(image_seeds(settings.seed, count))
    if inputs.classes is not None:
        arrays["classes"] = inputs.classes.numpy()
    replaced = make_way(out)
    with whole(out) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # numpy's stubs take the names for its own arguments
    others = ", ".join(name for name in arrays if name != "images")
    return f"wrote {count:,} images {arrays['images'].shape} with {others} to {out}{replaced}"


def write_interpolation(generator: Generator, settings: SampleSettings, out: Path) -> str:
    """Write a closed path through some latents: a PNG with the way to the next latent in each row, and a looping GIF.

    With several classes the path is gone in each: one below the other in the PNG, side by side in the GIF. Where
    nobody chose, it is gone in the classes that the given latents have, or in the first.
    """
    strip, film = out.with_suffix(".png"), out.with_suffix(".gif")
    for file in (out, strip, film):
        require_file(file, ".png", ".gif")
    chosen = _chosen_classes(generator, settings)
    inputs = _inputs(generator, settings, chosen if settings.classes else chosen[:1], None, settings.stops)
    stops = inputs.latents
    if len(stops) < 2:
        raise SettingError("latents", settings.latents, "has one latent, and a path needs at least 2")
    frames = PATH_FRAMES if settings.num_images is None else -(-settings.num_images // len(stops))
    path = closed_path(stops, frames)
    classes = inputs.in_turn or ([] if inputs.classes is None else inputs.classes.unique().tolist())
    ways = [draw(generator, path, in_turn(each, len(path))) for each in ([[one] for one in classes] or [[]])]
    replaced = make_way(strip, film)
    save_png(grid(torch.cat(ways), columns=frames), strip)
    together = torch.stack(ways, 1)
    shown = [grid(images, rows=1) if len(ways) > 1 else images[0] for images in together]
    save_gif([_enlarged(picture(frame)) for frame in shown], film, FRAME_MILLISECONDS)
    of = f", in class {', '.join(map(str, classes))}" if classes else ""
    return f"wrote a path of {len(path):,} images through {len(stops)} latents{of} to {strip} and {film}{replaced}"


# What to write to where ``out`` does not say, and what writes it.
MODES: dict[str, tuple[str, Callable[[Generator, SampleSettings, Path], str]]] = {
    "grid": ("samples.png", write_grid),
    "images": ("samples", write_images),
    "interpolation": ("interpolation.png", write_interpolation),
    "npz": ("samples.npz", write_npz),
}


def _inputs(
    generator: Generator, settings: SampleSettings, classes: list[int], count: int | None, default: int = GRID_IMAGES
) -> Inputs:
    """Draw latents, or read them, and settle the class of each.

    Args:
        generator: Says how long a latent is.
        settings: Say where the latents come from.
        classes: To show in turn, unless latents are read that come with classes, and the settings chose none.
        count: How many; None: all that can be read, or ``default`` where they are drawn.
        default: See ``count``.
    """
    if settings.latents is None:
        count = default if count is None else count
        latents = sample_latents(settings.seed, count, generator.latent_dim, settings.truncation)
        return Inputs(latents, in_turn(classes, count), classes)
    if settings.truncation is not None:
        raise SettingError("truncation", settings.truncation, "is for latents that are drawn, and latents= gives them")
    arrays = _read_arrays(settings.latents)
    latents = _latents_in(arrays, settings.latents, generator.latent_dim)
    if count is not None and count > len(latents):
        raise SettingError("num_images", count, f"there are {len(latents):,} latents in {settings.latents}")
    latents = latents[:count]
    if "classes" in arrays and generator.num_classes is not None and settings.classes is None:
        return Inputs(latents, _classes_in(arrays, settings.latents, generator.num_classes)[:count], [])
    return Inputs(latents, in_turn(classes, len(latents)), classes)


def _read_arrays(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Read ``latents`` and ``classes``, as far as there are any, from an .npz file such as ``mode=npz`` writes."""
    file = path_of(path, "latents")
    try:
        zipfile.ZipFile(file).close()  # numpy calls whatever is no archive pickled data, and tells how to load that
        with np.load(file, allow_pickle=False) as found:
            return {name: np.asarray(found[name]) for name in ("latents", "classes") if name in found}
    except Exception as error:  # the archive, its compression and the arrays each have errors of their own
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise SettingError("latents", path, f"is no .npz file that can be read ({reason})") from error


def _latents_in(arrays: dict[str, np.ndarray[Any, Any]], path: str, latent_dim: int) -> Tensor:
    wanted = f"must hold an array latents (N, {latent_dim}) of finite float32 numbers"
    if "latents" not in arrays:
        raise SettingError("latents", path, f"{wanted}; there is none of that name")
    latents = arrays["latents"]
    if latents.ndim != 2 or latents.shape[1] != latent_dim or not len(latents) or latents.dtype.kind not in "fiu":
        raise SettingError("latents", path, f"{wanted}; it is {latents.dtype} {latents.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        converted = latents.astype(np.float32)
    if not np.isfinite(converted).all():
        raise SettingError("latents", path, f"{wanted}; some are not")
    return torch.from_numpy(converted)


def _classes_in(arrays: dict[str, np.ndarray[Any, Any]], path: str, num_classes: int) -> Tensor:
    classes, count = arrays["classes"], len(arrays["latents"])
    fits = classes.shape == (count,) and classes.dtype.kind in "iu"
    if not fits or classes.min() < 0 or classes.max() >= num_classes:
        wanted = f"its classes must be whole numbers from 0 to {num_classes - 1}, {count:,} of them"
        raise SettingError("latents", path, f"{wanted}; or choose others with classes=")
    return torch.from_numpy(classes.astype(np.int64))


def _chosen_classes(generator: Generator, settings: SampleSettings) -> list[int]:
    """Return the classes to show, in order: all of them unless the settings choose."""
    if settings.classes is None:
        return classes_of(generator)
    chosen = list(settings.classes)
    if generator.num_classes is None:
        raise SettingError("classes", chosen, "this generator was trained without classes (dataset.conditional=true)")
    if not chosen or max(chosen) >= generator.num_classes:
        raise SettingError(
            "classes", chosen, f"must be one or more whole numbers from 0 to {generator.num_classes - 1}"
        )
    return chosen


def _enlarged(frame: Image.Image) -> Image.Image:
    factor = max(1, FRAME_SIDE // frame.height)
    return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
