"""The losses: what each player minimises, as functions of the critic's scores.

A loss is a class with two methods that map scores (batch,) to a scalar, and one line in ``LOSSES``. Its settings, if it
has any, are the parameters of its ``__init__``.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor


class Loss(ABC):
    """The interface of a loss.

    Attributes:
        generator_needs_real: Whether :meth:`generator` looks at real scores. If so, training draws a batch of real
            samples for the generator's update as well. If not, its ``real_scores`` are empty, of shape (0,).
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


class Hinge(Loss):
    """The hinge loss: the critic ignores scores beyond the margin of 1.

    Source: Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral Normalization for GANs", equations 16, 17.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return -fake_scores.mean()


class Minimax(Loss):
    """Binary cross-entropy for the critic; the generator maximises the critic's loss on fake samples.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets", equation 1, with scores as logits.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return -F.softplus(fake_scores).mean()


class NonSaturating(Loss):
    """Minimax for the critic; the generator's gradient does not vanish when the critic is certain.

    Source: Goodfellow et al. 2014, section 3, last paragraph.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(-fake_scores).mean()


class LeastSquares(Loss):
    """The critic regresses real scores to 1 and fake scores to 0, the generator fake scores to 1.

    Source: Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 9.
    """

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return ((real_scores - 1).square().mean() + fake_scores.square().mean()) / 2

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return (fake_scores - 1).square().mean() / 2


class Relativistic(Loss):
    """Compares each real sample with a fake one. Samples are paired by their position in the batch.

    Source: Jolicoeur-Martineau 2018, "The relativistic discriminator", section 4.1 (RSGAN).
    """

    generator_needs_real = True

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return F.softplus(fake_scores - real_scores).mean()

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return self.critic(fake_scores, real_scores)


class RelativisticAverage(Loss):
    """Compares each sample with the average of the other kind.

    This is the mean of the two cross-entropies; the paper has their sum.

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
    "wasserstein_gp": Wasserstein,  # it differs by the constraint and the optimizer that it brings
}
