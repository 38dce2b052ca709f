"""Turns the settings of ``wgan-sample`` into latents, classes and files."""

from collections.abc import Sequence
from pathlib import Path

from wgan_cli.build.restore import load_generator
from wgan_cli.errors import SettingError, blame, report_failures
from wgan_cli.files import atomic_write, parse_path
from wgan_cli.networks.players import Batch, Generator
from wgan_cli.sampling import modes
from wgan_cli.sampling.draw import GRID_COLUMNS, GRID_IMAGES, Inputs, cycle, draw_latents, take_from
from wgan_cli.sampling.export import SUFFIXES, export_generator
from wgan_cli.sampling.inputs import read_latents, select_classes
from wgan_cli.sampling.output import check_file_name, make_folders
from wgan_cli.settings import SampleSettings


def render_samples(settings: SampleSettings) -> str:
    """Write what the settings ask for; return a sentence about it.

    Raises:
        SettingError: If a setting cannot be used.
        RunFailedError: If the machine fails, for example if it runs out of memory.
    """
    with report_failures("num_images" if settings.num_images is None else f"num_images={settings.num_images}"):
        generator = load_generator(settings.checkpoint, settings.device)
        return write_samples(generator, settings) if settings.export is None else write_export(generator, settings)


def write_samples(generator: Generator, settings: SampleSettings) -> str:
    """Write images of a generator; return a sentence about them."""
    default, most_classes = modes.MODES[settings.mode]
    out = _parse_out(settings.out, default)
    with blame("classes", settings.classes):
        cycled = select_classes(settings.classes, generator.class_names, most_classes)
    if settings.latents is None:
        usual = len(cycled) * GRID_COLUMNS if settings.mode == "grid" and cycled else GRID_IMAGES
        count = settings.stops if settings.mode == "interpolation" else settings.num_images or usual
        inputs = _draw_inputs(generator, settings, cycled, count)
    else:
        latents, classes = _read_inputs(generator, settings)
        if classes is None:
            classes = cycle(cycled, len(latents))
        else:
            cycled = []
        inputs = take_from(latents, classes)
    with blame("out", out):
        match settings.mode:
            case "grid":
                return modes.write_grid(generator, inputs, out, cycled)
            case "images":
                return modes.write_images(generator, inputs, out)
            case "npz":
                return modes.write_npz(generator, inputs, out, settings.seed if settings.latents is None else None)
            case "interpolation":
                stops = inputs.make(0, inputs.count)
                return modes.write_interpolation(generator, stops, out, cycled, settings.num_images)


def _draw_inputs(generator: Generator, settings: SampleSettings, cycled: Sequence[int], count: int) -> Inputs:
    def make(first: int, count: int) -> Batch:
        latents = draw_latents(settings.seed, count, generator.latent_dim, settings.truncation, first)
        return Batch(latents, cycle(cycled, count, first))

    return Inputs(count, make)


def _read_inputs(generator: Generator, settings: SampleSettings) -> Batch:
    """Read as many latents as the settings ask for, with their classes unless the user chose others."""
    path, count = str(settings.latents), None if settings.mode == "interpolation" else settings.num_images
    if settings.truncation is not None:
        raise SettingError("truncation", settings.truncation, "cannot be combined with latents=")
    with blame("latents", path):
        num_classes = generator.num_classes if settings.classes is None else None
        latents, classes = read_latents(parse_path(path), generator.latent_dim, num_classes)
    if settings.mode == "interpolation" and len(latents) < 2:
        raise SettingError("latents", path, "has one latent, and a path needs at least 2")
    if count is not None and count > len(latents):
        raise SettingError("num_images", count, f"exceeds the {len(latents):,} latents in {path}")
    return Batch(latents[:count], None if classes is None else classes[:count])


def write_export(generator: Generator, settings: SampleSettings) -> str:
    """Write the generator itself; return a sentence about it."""
    form = str(settings.export)
    out = _parse_out(settings.out, f"generator{SUFFIXES[form]}")
    with blame("out", out):
        check_file_name(out, SUFFIXES[form])
    with blame("export", form):
        content, difference = export_generator(generator.cpu(), form)
    with blame("out", out):
        replaced = make_folders(out)
        with atomic_write(out) as partial:
            partial.write_bytes(content)
    inputs = "latents" if generator.num_classes is None else "latents and classes"
    return f"wrote a function of {inputs} to {out}{replaced}; it differs from the original by at most {difference:.1e}"


def _parse_out(out: str | None, default: str) -> Path:
    with blame("out", out):
        return parse_path(default if out is None else out)
