"""The losses: what the critic and what the generator minimise, both as functions of scores.

A loss is a class with two methods over critic scores of shape (batch,), each returning a scalar, and one line in
``LOSSES``. Its parameters, if it has any, are those of its ``__init__`` (or of the dataclass).
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor


class Loss(ABC):
    """What training asks of a loss.

    Attributes:
        generator_needs_real: Whether :meth:`generator` looks at real scores. If so, training draws a batch of real
            images for the generator's update as well; if not, ``real_scores`` is empty there, of shape (0,).
    """

    generator_needs_real: ClassVar[bool] = False

    @abstractmethod
    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """Return the scalar that the critic minimises, without the constraint's penalty."""

    @abstractmethod
    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """Return the scalar that the generator minimises."""


class Wasserstein(Loss):
    """The negated dual objective of the Wasserstein-1 distance.

    Source: Arjovsky et al. 2017, "Wasserstein GAN", equation 2 and Algorithm 1 (there maximised).
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return fake_scores.mean() - real_scores.mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return -fake_scores.mean()


class Hinge(Wasserstein):
    """The hinge version: scores beyond the margin of 1 no longer matter to the critic.

    Source: Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral Normalization for GANs", equations 16, 17.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean()


class Minimax(Loss):
    """Binary cross-entropy for the critic; the generator maximises the critic's loss on its images.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1, with scores as logits.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return -F.softplus(fake_scores).mean()


class NonSaturating(Minimax):
    """Minimax for the critic; the generator's gradient does not vanish where the critic is sure.

    Source: Goodfellow et al. 2014, section 3, last paragraph.
    """

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(-fake_scores).mean()


class LeastSquares(Loss):
    """Regression of scores: real to 1, fake to 0, and for the generator fake to 1.

    Source: Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return ((real_scores - 1).square().mean() + fake_scores.square().mean()) / 2

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return (fake_scores - 1).square().mean() / 2


class Relativistic(Loss):
    """Is this real image more real than that fake one? Images are paired by their place in the batch.

    Source: Jolicoeur-Martineau 2018, "The relativistic discriminator", section 4.1 (RSGAN).
    """

    generator_needs_real = True

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(fake_scores - real_scores).mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return self.critic(fake_scores, real_scores)


class RelativisticAverage(Loss):
    """Is this image more real than the other kind is on average?

    The mean of the two cross-entropies, where the paper has their sum.

    Source: Jolicoeur-Martineau 2018, section 4.2 (RaSGAN).
    """

    generator_needs_real = True

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        real_to_one = F.softplus(fake_scores.mean() - real_scores).mean()
        fake_to_zero = F.softplus(fake_scores - real_scores.mean()).mean()
        return (real_to_one + fake_to_zero) / 2

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return self.critic(fake_scores, real_scores)


def wasserstein_estimate(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return mean(real) − mean(fake): the Wasserstein-1 distance up to the critic's Lipschitz constant."""
    return real_scores.mean() - fake_scores.mean()


LOSSES: dict[str, type[Loss]] = {
    "hinge": Hinge,
    "least_squares": LeastSquares,
    "minimax": Minimax,
    "nonsaturating": NonSaturating,
    "relativistic": Relativistic,
    "relativistic_average": RelativisticAverage,
    "wasserstein": Wasserstein,
}
