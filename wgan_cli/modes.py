"""The modes of ``wgan-sample``: what it makes of a generator's images, each written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from wgan_cli.images import grid, save_png
from wgan_cli.parameters import SettingError, choose
from wgan_cli.players import Generator
from wgan_cli.sampling import image_seeds, render, sample, sample_latents


def write_grid(generator: Generator, seed: int, count: int, out: Path | None) -> str:
    """Write one PNG with all images in rows; return what was written."""
    out = out or Path("samples.png")
    replaced = _replacing(out, ".png")
    save_png(grid(sample(generator, seed, count)), out)
    return f"wrote a grid of {count:,} images to {out}{replaced}"


def write_images(generator: Generator, seed: int, count: int, out: Path | None) -> str:
    """Write a folder of numbered PNGs, image k in the k-th; return what was written."""
    out = out or Path("samples")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError("out", out, "exists already, and images of two samplings would mix; give a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    digits = max(6, len(str(count - 1)))
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        partial = Path(temporary) / out.name
        partial.mkdir()
        chunks = render(generator, sample_latents(seed, count, generator.latent_dim))
        for index, image in enumerate(image for chunk in chunks for image in chunk):
            save_png(image, partial / f"{index:0{digits}d}.png")
        partial.replace(out)
    return f"wrote {count:,} images to {out}{os.sep}"


def write_npz(generator: Generator, seed: int, count: int, out: Path | None) -> str:
    """Write arrays: images uint8 (N, H, W, C), latents float32 (N, latent_dim), seeds int64 (N,).

    ``latents[k]`` is ``torch.randn(latent_dim, generator=torch.Generator().manual_seed(seeds[k]))``.
    """
    out = out or Path("samples.npz")
    replaced = _replacing(out, ".npz")
    latents = sample_latents(seed, count, generator.latent_dim)
    images = torch.cat(list(render(generator, latents))).permute(0, 2, 3, 1)
    partial = out.with_name(f".{out.name}.partial.npz")
    try:
        np.savez(partial, images=images.numpy(), latents=latents.numpy(), seeds=np.array(image_seeds(seed, count)))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return f"wrote {count:,} images {tuple(images.shape)}, their latents and seeds to {out}{replaced}"


MODES: dict[str, Callable[[Generator, int, int, Path | None], str]] = {
    "grid": write_grid,
    "images": write_images,
    "npz": write_npz,
}


def write_samples(generator: Generator, mode: str, seed: int, count: int, out: Path | None) -> str:
    """Write images 0 to ``count - 1`` of a seed in one of the modes; return what was written.

    Raises:
        SettingError: If it cannot be written there.
    """
    try:
        return choose(MODES, {"name": mode}, "mode")(generator, seed, count, out)
    except OSError as error:
        raise SettingError("out", out, f"cannot be written ({error.strerror or error})") from error


def _replacing(out: Path, suffix: str) -> str:
    """Make way for a file, and return the words that say if one is replaced."""
    if out.suffix.lower() != suffix or out.is_dir():
        raise SettingError("out", out, f"must be the name of a {suffix} file")
    out.parent.mkdir(parents=True, exist_ok=True)
    return " (and replaced what was there)" if out.exists() else ""
