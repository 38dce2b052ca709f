"""The modes of ``wgan-sample``: what it makes of a generator's images, each written whole or not at all."""

import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wgan_cli.images import grid, picture, save_gif, save_png
from wgan_cli.parameters import SettingError, choose
from wgan_cli.players import Generator
from wgan_cli.sampling import (
    GRID_CLASSES,
    GRID_COLUMNS,
    GRID_IMAGES,
    classes_of,
    closed_path,
    image_seeds,
    in_turn,
    render,
    sample_latents,
)
from wgan_cli.settings import SampleSettings

FRAME_MILLISECONDS = 60
FRAME_SIDE = 128  # smaller frames of an animation are enlarged to about this, in whole steps


@dataclass(frozen=True)
class Inputs:
    """What a generator is asked for.

    Attributes:
        latents: float32, (N, latent_dim).
        classes: int64, (N,), or None where the generator has none.
        rows: The classes that were chosen, of which a grid shows each in a row of its own; maybe none.
        seeds: Of the latents, N of them; none where the latents were given.
    """

    latents: Tensor
    classes: Tensor | None
    rows: list[int]
    seeds: list[int]


def write_samples(generator: Generator, settings: SampleSettings) -> str:
    """Write what the settings ask for; return what was written.

    Raises:
        SettingError: If they cannot be met, or it cannot be written there.
    """
    mode = choose(MODES, {"name": settings.mode}, "mode")
    out = None if settings.out is None else Path(settings.out).expanduser()
    try:
        return mode(generator, settings, out)
    except OSError as error:
        raise SettingError("out", out, f"cannot be written ({error.strerror or error})") from error


def write_grid(generator: Generator, settings: SampleSettings, out: Path | None) -> str:
    """Write one PNG with all images in rows, a class a row where there are classes; return what was written."""
    out = out or Path("samples.png")
    rows = _chosen_classes(generator, settings)[: None if settings.classes else GRID_CLASSES]
    inputs = _inputs(generator, settings, rows, count=len(rows) * GRID_COLUMNS or GRID_IMAGES)
    replaced = _replacing(out, ".png")
    save_png(grid(_images(generator, inputs), rows=len(inputs.rows) or None), out)
    return f"wrote a grid of {len(inputs.latents):,} images to {out}{replaced}"


def write_images(generator: Generator, settings: SampleSettings, out: Path | None) -> str:
    """Write a folder of numbered PNGs, image k in the k-th; return what was written."""
    out = out or Path("samples")
    inputs = _inputs(generator, settings, _chosen_classes(generator, settings))
    count = len(inputs.latents)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError("out", out, "exists already, and images of two samplings would mix; give a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    digits = max(6, len(str(count - 1)))
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        partial = Path(temporary) / out.name
        partial.mkdir()
        chunks = render(generator, inputs.latents, inputs.classes)
        for index, image in enumerate(image for chunk in chunks for image in chunk):
            save_png(image, partial / f"{index:0{digits}d}.png")
        partial.replace(out)
    return f"wrote {count:,} images to {out}{os.sep}"


def write_npz(generator: Generator, settings: SampleSettings, out: Path | None) -> str:
    """Write arrays: images uint8 (N, H, W, C), latents float32 (N, latent_dim), seeds int64 (N,), classes int64 (N,).

    ``latents[k]`` is ``torch.randn(latent_dim, generator=torch.Generator().manual_seed(seeds[k]))``, but for what a
    truncation drew again; there are no seeds where the latents were given, and no classes where there are none.
    """
    out = out or Path("samples.npz")
    inputs = _inputs(generator, settings, _chosen_classes(generator, settings))
    replaced = _replacing(out, ".npz")
    arrays = {
        "images": _images(generator, inputs).permute(0, 2, 3, 1).numpy(),
        "latents": inputs.latents.numpy(),
        **({"seeds": np.array(inputs.seeds)} if inputs.seeds else {}),
        **({"classes": inputs.classes.numpy()} if inputs.classes is not None else {}),
    }
    partial = out.with_name(f".{out.name}.partial.npz")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    others = [name for name in arrays if name != "images"]
    return f"wrote {len(inputs.latents):,} images {arrays['images'].shape} with {', '.join(others)} to {out}{replaced}"


def write_interpolation(generator: Generator, settings: SampleSettings, out: Path | None) -> str:
    """Write a closed path through some latents: a PNG with the way to the next latent in each row, and a looping GIF.

    With several classes the path is gone in each: one below the other in the PNG, side by side in the GIF.
    """
    out = out or Path("interpolation.png")
    target = out.with_suffix(".png") if out.suffix.lower() == ".gif" else out
    classes = list(settings.classes or classes_of(generator)[:1])
    _check_classes(generator, classes)
    stops = _inputs(generator, settings, [], count=settings.stops).latents
    if len(stops) < 2:
        raise SettingError("latents", settings.latents, "a path needs at least 2 latents")
    frames = -(-(settings.num_images or GRID_IMAGES) // len(stops))
    path = closed_path(stops, frames)
    replaced = _replacing(target, ".png") or _replacing(target.with_suffix(".gif"), ".gif")
    ways = [torch.cat(list(render(generator, path, in_turn([each], len(path))))) for each in classes] or [
        torch.cat(list(render(generator, path)))
    ]
    save_png(grid(torch.cat(ways), columns=frames), target)
    shown = [
        grid(torch.stack(together), rows=1) if classes[1:] else together[0] for together in zip(*ways, strict=True)
    ]
    save_gif([_enlarged(picture(frame)) for frame in shown], target.with_suffix(".gif"), FRAME_MILLISECONDS)
    through = f"a path of {len(path):,} images through {len(stops)} latents"
    return f"wrote {through} to {target} and {target.with_suffix('.gif')}{replaced}"


MODES: dict[str, Callable[[Generator, SampleSettings, Path | None], str]] = {
    "grid": write_grid,
    "images": write_images,
    "interpolation": write_interpolation,
    "npz": write_npz,
}


def _inputs(generator: Generator, settings: SampleSettings, rows: list[int], count: int = GRID_IMAGES) -> Inputs:
    """Settle which latents and classes are to be shown.

    Args:
        generator: Says how long a latent is.
        settings: Say the rest.
        rows: The classes to show in turn.
        count: Images where ``num_images`` and ``latents`` leave it open.
    """
    if settings.mode != "interpolation":  # where num_images counts what is seen on the way
        count = settings.num_images or count
    if settings.latents is None:
        latents = sample_latents(settings.seed, count, generator.latent_dim, settings.truncation)
        return Inputs(latents, in_turn(rows, count), rows, image_seeds(settings.seed, count))
    if settings.truncation is not None:
        raise SettingError("truncation", settings.truncation, "is for latents that are drawn, and latents= gives them")
    arrays = _read_latents(settings.latents, generator)
    latents = arrays["latents"]
    if settings.num_images is not None and settings.mode != "interpolation":
        if settings.num_images > len(latents):
            raise SettingError("num_images", settings.num_images, f"there are {len(latents):,} latents in the file")
        latents = latents[: settings.num_images]
    if "classes" in arrays and generator.num_classes and not settings.classes:
        return Inputs(latents, arrays["classes"][: len(latents)], [], [])
    return Inputs(latents, in_turn(rows, len(latents)), rows, [])


def _read_latents(path: str, generator: Generator) -> dict[str, Tensor]:
    """Read ``latents`` and, where there are some, ``classes`` from an .npz file such as ``mode=npz`` writes.

    Raises:
        SettingError: If they do not fit the generator.
    """
    try:
        with np.load(Path(path).expanduser(), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("latents", "classes") if name in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise SettingError("latents", path, f"is no .npz file that can be read ({reason})") from error
    wanted = f"must hold an array latents (N, {generator.latent_dim}) of finite numbers"
    latents = arrays.get("latents")
    if latents is None or latents.ndim != 2 or latents.shape[1] != generator.latent_dim or not len(latents):
        found = "there is none" if latents is None else f"it is {latents.shape}"
        raise SettingError("latents", path, f"{wanted}; {found}")
    if latents.dtype.kind not in "fiu" or not np.isfinite(latents).all():
        raise SettingError("latents", path, wanted)
    tensors = {"latents": torch.from_numpy(latents.astype(np.float32))}
    if "classes" in arrays and generator.num_classes:
        classes = arrays["classes"]
        fits = classes.shape == latents.shape[:1] and classes.dtype.kind in "iu"
        if not fits or classes.min() < 0 or classes.max() >= generator.num_classes:
            raise SettingError(
                "latents", path, f"classes must be N whole numbers from 0 to {generator.num_classes - 1}"
            )
        tensors["classes"] = torch.from_numpy(classes.astype(np.int64))
    return tensors


def _chosen_classes(generator: Generator, settings: SampleSettings) -> list[int]:
    """Return the classes to show, in order: all of them unless the settings choose."""
    if settings.classes is None:
        return classes_of(generator)
    _check_classes(generator, list(settings.classes))
    return list(settings.classes)


def _check_classes(generator: Generator, classes: list[int]) -> None:
    if classes and generator.num_classes is None:
        raise SettingError("classes", classes, "this generator was trained without classes (dataset.conditional=true)")
    if any(each >= (generator.num_classes or 0) for each in classes):
        raise SettingError("classes", classes, f"must be whole numbers from 0 to {(generator.num_classes or 0) - 1}")


def _images(generator: Generator, inputs: Inputs) -> Tensor:
    return torch.cat(list(render(generator, inputs.latents, inputs.classes)))


def _enlarged(frame: Image.Image) -> Image.Image:
    factor = max(1, FRAME_SIDE // frame.height)
    return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)


def _replacing(out: Path, suffix: str) -> str:
    """Make way for a file, and return the words that say if one is replaced."""
    if out.suffix.lower() != suffix or out.is_dir():
        raise SettingError("out", out, f"must be the name of a {suffix} file")
    out.parent.mkdir(parents=True, exist_ok=True)
    return " (and replaced what was there)" if out.exists() else ""
