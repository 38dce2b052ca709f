"""How the networks use the classes of images, where they are trained with them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wgan_cli.networks.layers import in_float32

# Standard deviation of the first embeddings. With 1, as latents have it, BatchNorm sees classes differ and is content,
# and generators came to ignore the latent: on MNIST, after 1,500 steps, one digit of each class.
EMBEDDING_STD = 0.1


class LatentAndClass(nn.Module):
    """What a generator's first layer sees: the latent and, where there are classes, an embedding of the class.

    Args:
        latent_dim: Dimensions of a latent, and of the embedding.
        num_classes: How many classes there are, or None.

    Attributes:
        features: Dimensions of the output.

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
    """A critic's last layer: one score and, where there are classes, another by the class, which is added to it.

    The second is the inner product of the features with a vector of the class (a projection).

    Args:
        layer: Makes the layer from the features to so many outputs, (batch, outputs, ...) with one value in each;
            ``bias=False`` leaves its bias out.
        num_classes: How many classes there are, or None.

    Source: Miyato and Koyama 2018, "cGANs with Projection Discriminator", equation 4.
    """

    def __init__(self, layer: Callable[..., nn.Module], num_classes: int | None) -> None:
        super().__init__()
        self.score = layer(1)
        self.by_class = None if num_classes is None else layer(num_classes, bias=False)

    def forward(self, features: Tensor, classes: Tensor | None) -> Tensor:
        """Return unbounded scores, float32, (batch,).

        Raises:
            TypeError: If there are classes and they are not given.
        """
        scores = in_float32(self.score, features).flatten(1).squeeze(1)
        if self.by_class is None:
            return scores
        if classes is None:
            raise TypeError("this critic was built for images with classes, and must be told them")
        return scores + in_float32(self.by_class, features).flatten(1).gather(1, classes[:, None]).squeeze(1)
