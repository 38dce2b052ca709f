"""The two players, as training and sampling know them. What kinds there are is in ``networks``."""

from torch import nn


class Generator(nn.Module):
    """Maps latents (batch, latent_dim), drawn from N(0, I), to images (batch, channels, height, width) in [-1, 1].

    Attributes:
        latent_dim: Dimensions of a latent.
        num_classes: How many classes there are, if it was built to know them, else None. It is then called with latents
            and classes, int64 (batch,), from 0 up.
    """

    latent_dim: int
    num_classes: int | None = None


class Critic(nn.Module):
    """Maps images (batch, channels, height, width) to unbounded scores (batch,): no sigmoid, no mean inside.

    One that is trained with classes is called with images and classes, int64 (batch,).
    """
