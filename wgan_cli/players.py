"""The two players, as training and sampling know them. What kinds there are is in ``networks``."""

from torch import nn


class Generator(nn.Module):
    """Maps latents (batch, latent_dim), drawn from N(0, I), to images (batch, channels, height, width) in [-1, 1].

    Attributes:
        latent_dim: Dimensions of a latent.
    """

    latent_dim: int


class Critic(nn.Module):
    """Maps images (batch, channels, height, width) to unbounded scores (batch,): no sigmoid, no mean inside."""
