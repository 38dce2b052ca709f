"""The networks: a generator and a critic for each architecture. Every generator works with every critic.

A network declares in its signature what it needs to know about the data: ``image_size`` (height and width, from 8 to
256 pixels) and ``channels`` (1 or 3), or ``sample_shape`` (any shape); and ``num_classes`` (None without classes). Its
other parameters are settings; ``options.py`` explains the shared ones.

A network consists of ``first`` (generators only), ``layers`` and ``last``. Each block of ``layers`` is named by the
size of its output, as in ``layers.14x14.conv.weight``.
"""

from collections.abc import Callable

from wgan_cli.networks.dcgan import DCGANCritic, DCGANGenerator
from wgan_cli.networks.dcgan_5x5 import DCGAN5x5Critic, DCGAN5x5Generator
from wgan_cli.networks.mlp import MLPCritic, MLPGenerator
from wgan_cli.networks.players import Critic, Generator
from wgan_cli.networks.resnet import ResNetCritic, ResNetGenerator
from wgan_cli.networks.upsample_conv import UpsampleConvCritic, UpsampleConvGenerator

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
