"""How networks use the classes of samples: generators at the first layer, critics at the last."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wgan_cli.networks.layers import run_in_float32

# Standard deviation of the initial embeddings. With 1, as in the latent, the classes alone give BatchNorm all the
# variance it needs, and generators learned to ignore the latent: after 1,500 steps on MNIST, one digit per class.
EMBEDDING_STD = 0.1


class LatentAndClass(nn.Module):
    """The input of a generator's first layer: the latent and, with classes, an embedding of the class.

    Args:
        latent_dim: Dimensions of a latent and of an embedding.
        num_classes: Number of classes, or None.

    Attributes:
        features: Dimensions of the output: ``latent_dim``, or twice as many with classes.

    Source: Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", section 3.2.
    """

    def __init__(self, latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.embedding = None if num_classes is None else nn.Embedding(num_classes, latent_dim)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, EMBEDDING_STD)
        self.features = latent_dim if num_classes is None else 2 * latent_dim

    def forward(self, latents: Tensor, classes: Tensor | None) -> Tensor:
        """Return (batch, features)."""
        return latents if self.embedding is None else torch.cat([latents, self.embedding(classes)], 1)


class Score(nn.Module):
    """A critic's last layer. With classes, a second score that depends on the class is added to the first.

    The second score is the inner product of the features with a learned vector of the class (a projection).

    Args:
        layer: Makes a layer from the features to a number of outputs, (batch, outputs, ...) with a single value each.
            It accepts ``bias=False``.
        num_classes: Number of classes, or None.

    Source: Miyato and Koyama 2018, "cGANs with Projection Discriminator", equation 4.
    """

    __call__: Callable[..., Tensor]  # tells type checkers what nn.Module does not

    def __init__(self, layer: Callable[..., nn.Module], num_classes: int | None) -> None:
        super().__init__()
        self.score = layer(1)
        self.by_class = None if num_classes is None else layer(num_classes, bias=False)

    def forward(self, features: Tensor, classes: Tensor | None) -> Tensor:
        """Return unbounded scores, float32 (batch,).

        Raises:
            TypeError: If the critic was built with classes and ``classes`` is None.
        """
        scores = run_in_float32(self.score, features).flatten(1).squeeze(1)
        if self.by_class is None:
            return scores
        if classes is None:
            raise TypeError("this critic was built with classes; pass the classes of the samples")
        return scores + run_in_float32(self.by_class, features).flatten(1).gather(1, classes[:, None]).squeeze(1)
