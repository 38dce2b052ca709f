"""The datasets: one function for each, looked up by name.

A dataset takes any of these parameters:

    root: The folder of its files. Missing files of a public dataset are downloaded into it.
    image_size: Pixels along a side.
    channels: 1 for grey (colour becomes luma) or 3 for colour (grey is repeated).
    limit: At most this many images in each part, a seeded subset.
    seed: Chooses the subset.

It returns a :class:`Dataset`, and raises :class:`wgan_cli.errors.InputError` if its files are damaged, or missing and
cannot be downloaded.
"""

from collections.abc import Callable

from wgan_cli.data.celeba import celeba
from wgan_cli.data.cifar10 import cifar10
from wgan_cli.data.dataset import Dataset
from wgan_cli.data.glyphs import glyphs
from wgan_cli.data.image_folder import image_folder
from wgan_cli.data.mnist import fashion_mnist, kmnist, mnist

__all__ = ["DATASETS", "Dataset"]

DATASETS: dict[str, Callable[..., Dataset]] = {
    "celeba": celeba,
    "cifar10": cifar10,
    "fashion_mnist": fashion_mnist,
    "glyphs": glyphs,
    "image_folder": image_folder,
    "kmnist": kmnist,
    "mnist": mnist,
}
