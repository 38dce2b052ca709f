"""Where images come from: one function a source, looked up by name."""

from collections.abc import Callable

from wgan_cli.data.dataset import Dataset
from wgan_cli.data.glyphs import glyphs
from wgan_cli.data.image_folder import image_folder
from wgan_cli.data.mnist import mnist

__all__ = ["DATASETS", "Dataset"]

DATASETS: dict[str, Callable[..., Dataset]] = {"glyphs": glyphs, "image_folder": image_folder, "mnist": mnist}
