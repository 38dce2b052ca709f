"""Where samples come from: one function for each source, looked up by name."""

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
