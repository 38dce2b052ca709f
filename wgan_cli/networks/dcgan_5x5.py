"""The DCGAN that the WGAN-GP authors compare with: 5×5 convolutions, and a linear layer at the latent.

The critic halves the image, rounding up, until 3 or 4 pixels are left; the generator is its mirror. (Gulrajani et al.
2017: at 28 pixels these are the networks of gan_mnist.py; at 32, with width 128 and ``normalization=batch`` in the
generator, those of gan_cifar.py. Their images of digits are in [0, 1], by a sigmoid; ours are in [-1, 1], by a tanh.)

Where a size is even, TensorFlow pads one pixel before it and two after, and so do we: torch's ``padding=2`` would be
all that turned by half a circle, and another network where a size is odd.
"""

import math
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import Normalization, Width, doubling, halvings, in_float32, normalize
from wgan_cli.players import Critic, Generator


class DCGAN5x5Generator(Generator):
    """Latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        latent_dim: Dimensions of a latent.
        width: Channels of the layer before the image; they double towards the latent, up to 8 · width.
        normalization: Of each layer but the last.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        latent_dim: Width = 128,
        width: Width = 32,
        normalization: Normalization = "none",
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.first = LatentAndClass(latent_dim, num_classes)
        sizes = halvings(image_size, 4)
        widths = doubling(width, len(sizes) - 1)
        inputs = widths[-1] * sizes[-1] ** 2
        layers: list[nn.Module] = [
            nn.Linear(self.first.features, inputs),
            *normalize(normalization, inputs, images=False),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[-1], sizes[-1], sizes[-1])),
        ]
        for between, (features, narrower) in zip(pairwise(sizes[:0:-1]), pairwise(widths[::-1]), strict=True):
            layers += [_up(features, narrower, *between)]
            layers += [*normalize(normalization, narrower, images=True), nn.ReLU(inplace=True)]
        self.layers, self.last = nn.Sequential(*layers), _up(width, channels, sizes[1], image_size)
        _initialize(self)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return in_float32(self.last, self.layers(self.first(latents, classes))).tanh()


class DCGAN5x5Critic(Critic):
    """Images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        image_size: Height and width in pixels, from 8 to 256.
        channels: 1 or 3.
        num_classes: Of the images, or None.
        width: Channels of the first layer; they double from layer to layer, up to 8 · width.
        normalization: Of each layer but the first and the last.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        num_classes: int | None = None,
        width: Width = 32,
        normalization: Normalization = "none",
    ) -> None:
        super().__init__()
        sizes = halvings(image_size, 4)
        widths = doubling(width, len(sizes) - 1)
        layers: list[nn.Module] = []
        for index, (size, inputs, features) in enumerate(zip(sizes, [channels, *widths], widths, strict=False)):
            layers.append(_down(inputs, features, size))
            if index > 0:
                layers += normalize(normalization, features, images=True)
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.last = Score(partial(nn.Linear, widths[-1] * sizes[-1] ** 2), num_classes)
        _initialize(self)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        scores: Tensor = self.last(self.layers(images).flatten(1), classes)
        return scores


def _down(inputs: int, outputs: int, size: int) -> nn.Module:
    """Return a convolution that halves ``size``, rounding up."""
    before = 1 if size % 2 == 0 else 2
    return nn.Sequential(nn.ZeroPad2d((before, 2, before, 2)), nn.Conv2d(inputs, outputs, 5, stride=2))


def _up(inputs: int, outputs: int, before: int, size: int) -> nn.Module:
    """Return a transposed convolution from ``before`` to ``size``, which is twice that or one less."""
    cut = size - (2 * before + 1)  # of what torch makes of it
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=1), nn.ZeroPad2d((0, cut, 0, cut)))


def _initialize(network: nn.Module) -> None:
    """Draw the first weights uniformly, as the source does (tflib/ops): Glorot's, times √2 for the convolutions.

    A stride of 2 makes a quarter of the positions: so much less counts the fan of that side, which in torch is the
    first dimension of the weight, be it a convolution's output or a transposed convolution's input.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            strided, other, height, width = module.weight.shape
            variance = 4 / (height * width * (strided / 4 + other))
            nn.init.uniform_(module.weight, -math.sqrt(3 * variance), math.sqrt(3 * variance))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
