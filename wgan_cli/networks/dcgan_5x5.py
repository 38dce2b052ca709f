"""The DCGAN baseline of the WGAN-GP authors: 5×5 convolutions, and a linear layer after the latent.

The critic halves the image, rounding up, until at most 4 pixels are left. The generator is its mirror image.

At 28 pixels these are the networks of gan_mnist.py, except that its images are in [0, 1], by a sigmoid, and these are
in [-1, 1], by a tanh. At 32 pixels, with width 128 and ``normalization=batch`` in the generator, they are the networks
of gan_cifar.py.

TensorFlow pads an even size by one pixel before and two after, and so do these networks. torch's ``padding=2`` does the
reverse: it would give the published network rotated by 180° or, if one of the sizes is odd, a different network.

Source: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", and its code.
"""

import math
from functools import partial

from torch import Tensor, nn

from wgan_cli.networks.conditional import LatentAndClass, Score
from wgan_cli.networks.layers import add_block, chain, halve, make_norm, run_in_float32, widen
from wgan_cli.networks.options import Normalization, Width
from wgan_cli.networks.players import Critic, Generator


class DCGAN5x5Generator(Generator):
    """Maps latents (batch, latent_dim) to images (batch, channels, image_size, image_size) in [-1, 1].

    Args:
        width: Channels of the last hidden layer. They double from layer to layer towards the latent, up to 8 · width.
        normalization: Of every layer but the last.
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
        levels = widen(halve(image_size, 4, round_up=True), width)
        size, inputs = levels.pop()
        linear = nn.Linear(self.first.features, inputs * size**2)
        norm = make_norm(normalization, inputs * size**2, images=False)
        relu, unflatten = nn.ReLU(inplace=True), nn.Unflatten(1, (inputs, size, size))
        self.layers = nn.Sequential()
        add_block(self.layers, size, linear=linear, norm=norm, activation=relu, unflatten=unflatten)
        for double, outputs in reversed(levels):
            conv, crop = _enlarge(inputs, outputs, size, double)
            norm = make_norm(normalization, outputs)
            add_block(self.layers, double, conv=conv, crop=crop, norm=norm, activation=nn.ReLU(inplace=True))
            size, inputs = double, outputs
        conv, crop = _enlarge(inputs, channels, size, image_size)
        self.last = chain(conv=conv, crop=crop)
        _initialize(self)

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """Generate one image for each latent."""
        return run_in_float32(self.last, self.layers(self.first(latents, classes))).tanh()


class DCGAN5x5Critic(Critic):
    """Maps images (batch, channels, image_size, image_size) to unbounded scores (batch,).

    Args:
        width: Channels of the first layer. They double from layer to layer, up to 8 · width.
        normalization: Of every layer but the first and the last.
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
        self.layers = nn.Sequential()
        size, inputs = image_size, channels
        for half, outputs in widen(halve(image_size, 4, round_up=True), width):
            before = 1 if size % 2 == 0 else 2  # TensorFlow's padding
            pad, conv = nn.ZeroPad2d((before, 2, before, 2)), nn.Conv2d(inputs, outputs, 5, stride=2)
            norm = None if size == image_size else make_norm(normalization, outputs)
            add_block(self.layers, half, pad=pad, conv=conv, norm=norm, activation=nn.LeakyReLU(0.2, inplace=True))
            size, inputs = half, outputs
        self.last = Score(partial(nn.Linear, inputs * size**2), num_classes)
        _initialize(self)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Score each image."""
        return self.last(self.layers(images).flatten(1), classes)


def _enlarge(inputs: int, outputs: int, size: int, double: int) -> tuple[nn.Module, nn.Module]:
    """Make a transposed convolution from ``size``, and a layer that crops its 2 · size + 1 pixels to ``double``."""
    after = double - (2 * size + 1)
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=1), nn.ZeroPad2d((0, after, 0, after))


def _initialize(network: nn.Module) -> None:
    """Draw the initial weights as the source does (tflib/ops): Glorot's uniform, times √2 for convolutions.

    With stride 2 only a quarter of the positions exist on one side, so that side's fan is divided by 4. It is the
    weight's first dimension in both kinds of convolution.
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
