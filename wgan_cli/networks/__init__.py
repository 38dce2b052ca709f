"""The networks: generators and critics, each usable with every other.

A generator takes ``image_size``, ``channels`` and settings of its own, has a ``latent_dim`` and maps latents
(batch, latent_dim) to images in [-1, 1]; a critic maps images to scores (batch,). What takes ``num_classes``, too, can
be trained with classes.
"""

from collections.abc import Callable

from wgan_cli.networks.dcgan import DCGANCritic, DCGANGenerator
from wgan_cli.networks.dcgan_5x5 import DCGAN5x5Critic, DCGAN5x5Generator
from wgan_cli.networks.mlp import MLPCritic, MLPGenerator
from wgan_cli.networks.resnet import ResNetCritic, ResNetGenerator
from wgan_cli.networks.upsample_conv import UpsampleConvCritic, UpsampleConvGenerator
from wgan_cli.players import Critic, Generator

GENERATORS: dict[str, Callable[..., Generator]] = {
    "dcgan": DCGANGenerator,
    "dcgan_5x5": DCGAN5x5Generator,
    "mlp": MLPGenerator,
    "resnet": ResNetGenerator,
    "upsample_conv": UpsampleConvGenerator,
}
CRITICS: dict[str, Callable[..., Critic]] = {
    "dcgan": DCGANCritic,
    "dcgan_5x5": DCGAN5x5Critic,
    "mlp": MLPCritic,
    "resnet": ResNetCritic,
    "upsample_conv": UpsampleConvCritic,
}

__all__ = ["CRITICS", "GENERATORS"]
