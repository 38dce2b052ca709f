"""The constraints: how the critic is kept Lipschitz.

A constraint is a class with up to three hooks, each of which may be left out, and one line in ``CONSTRAINTS``.
Its parameters are the fields of its dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from wgan_cli.parameters import Range

Weight = Annotated[float, Range(low=0)]
Scorer = Callable[[Tensor], Tensor]  # a critic, as a function of images


@dataclass(frozen=True)
class Constraint:
    """No constraint, and the hooks that the others override.

    Attributes:
        usual_n_critic: Critic updates for each generator update where ``n_critic`` is null.
        penalizes_gradients: Whether :meth:`penalty` differentiates scores by images one sample at a time, which
            a critic with BatchNorm cannot honour: there every score depends on the whole batch.
    """

    usual_n_critic: ClassVar[int] = 1
    penalizes_gradients: ClassVar[bool] = False

    def wrap(self, critic: nn.Module) -> nn.Module:
        """Change the critic once, when it is built, and return it."""
        return critic

    def penalty(self, critic: Scorer, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        """Return the weighted term of the critic's loss, a scalar ≥ 0.

        Args:
            critic: Maps images (batch, ...) to scores (batch,).
            real: Real images, (batch, channels, height, width).
            fake: Generated images, the same shape, without a graph.
            epsilon: The random stream for interpolation; on the images' device.
        """
        return real.new_zeros(())

    def project(self, critic: nn.Module) -> None:
        """Change the critic in place after each of its updates."""


@dataclass(frozen=True)
class Clip(Constraint):
    """Weight clipping: every parameter is kept in [−clip_value, clip_value].

    Source: Arjovsky et al. 2017, Algorithm 1, line 7.
    """

    clip_value: Annotated[float, Range(above=0)] = 0.03

    @torch.no_grad()
    def project(self, critic: nn.Module) -> None:
        """Clip all parameters, biases and normalisation included."""
        parameters: list[Tensor] = list(critic.parameters())
        torch._foreach_clamp_min_(parameters, -self.clip_value)
        torch._foreach_clamp_max_(parameters, self.clip_value)


@dataclass(frozen=True)
class GradientPenalty(Constraint):
    """Two-sided penalty on the critic's gradient norm: weight · mean((‖∇f(x̂)‖₂ − 1)²).

    x̂ = ε·real + (1 − ε)·fake, one ε ~ U[0, 1] for each sample, and the norm is over all of a sample's dimensions.

    Source: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3.
    """

    weight: Weight = 10.0
    penalizes_gradients = True

    def penalty(self, critic: Scorer, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        """Penalise norms on both sides of 1, computed in float32 whatever the precision."""
        return self.weight * (gradient_norms(critic, interpolate(real, fake, epsilon)) - 1).square().mean()


@dataclass(frozen=True)
class LipschitzPenalty(Constraint):
    """One-sided penalty: weight · mean(max(0, ‖∇f(x̂)‖₂ − 1)²), so that smaller norms are free.

    Source: Petzka et al. 2018, "On the regularization of Wasserstein GANs", equation 8.
    """

    weight: Weight = 10.0
    penalizes_gradients = True

    def penalty(self, critic: Scorer, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        """Penalise only norms above 1, computed in float32 whatever the precision."""
        return self.weight * (gradient_norms(critic, interpolate(real, fake, epsilon)) - 1).relu().square().mean()


@dataclass(frozen=True)
class SpectralNorm(Constraint):
    """Every weight is divided by its largest singular value.

    A convolution's weight counts as the matrix (out_channels, in_channels · height · width).

    Source: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", equation 8. They estimate
    the singular value by one step of power iteration at a time, which is far behind (30 % and more) while training is
    young and the weights change much; here it is found anew after each update.
    """

    def wrap(self, critic: nn.Module) -> nn.Module:
        """Parametrise the weight of each convolution and linear layer."""
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                parametrize.register_parametrization(module, "weight", SpectrallyNormalized(module.weight))
        return critic

    def project(self, critic: nn.Module) -> None:
        """Find the singular vectors of the updated weights."""
        for module in critic.modules():
            if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], SpectrallyNormalized):
                module[0].refresh(module.original)


class SpectrallyNormalized(nn.Module):
    """The map from a weight to that weight divided by its largest singular value.

    Args:
        weight: (out, ...); of the layer that is parametrised.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", matrix.new_empty(matrix.shape[0]))
        self.register_buffer("right", matrix.new_empty(matrix.shape[1]))
        if not weight.is_meta:  # there are no values yet, and a state to load will have the vectors
            self.refresh(weight)

    def forward(self, weight: Tensor) -> Tensor:
        """Return weight / σ, where σ = uᵀ W v is differentiable by the weight and u, v count as constants."""
        device = "cpu" if weight.is_meta else weight.device.type  # autocast does not know the meta device
        with torch.autocast(device, enabled=False):
            sigma = torch.dot(self.left, torch.mv(weight.flatten(1), self.right))
            return weight / sigma

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        """Find the singular vectors u, v that belong to the largest singular value."""
        left, right = top_singular_vectors(weight.flatten(1))
        self.left.copy_(left)
        self.right.copy_(right)


def top_singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left and the right singular vector, (rows,) and (columns,), of the largest singular value.

    Squaring the Gram matrix seven times is 128 steps of power iteration in a dozen calls, and the device is not
    waited for. Where that does not tell two singular values apart, they differ by so little that either will do.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    power = wide @ wide.T
    for _ in range(7):
        power = power / power.trace().clamp_min(1e-30)  # keeps the largest eigenvalue in (0, 1], away from overflow
        power = power @ power
    longest = power.diagonal().argmax().view(1)
    left = F.normalize(power.index_select(1, longest).squeeze(1), dim=0)
    right = F.normalize(wide.T @ left, dim=0)
    return (right, left) if tall else (left, right)


def interpolate(real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
    """Draw a point between each real and its fake image.

    Returns:
        float32, shaped as ``real``: ε·real + (1 − ε)·fake with one ε ~ U[0, 1] for each sample.
    """
    shape = (len(real),) + (1,) * (real.dim() - 1)
    weights = torch.rand(shape, generator=epsilon, device=real.device)
    return torch.lerp(fake.float(), real.float(), weights)


def gradient_norms(critic: Scorer, images: Tensor) -> Tensor:
    """Return ‖∇f(x)‖₂ for each image, (batch,), differentiable by the critic's parameters.

    Autocast is off inside: squares of half-precision gradients lose the digits that the penalty is about.
    ``vector_norm`` has a finite gradient at zero, where the square root of a sum of squares has none.
    """
    images = images.detach().requires_grad_()
    with torch.autocast(images.device.type, enabled=False):
        scores = critic(images)
        (gradients,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
        norms: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
    return norms


CONSTRAINTS: dict[str, type[Constraint]] = {
    "clip": Clip,
    "gradient_penalty": GradientPenalty,
    "lipschitz_penalty": LipschitzPenalty,
    "none": Constraint,
    "spectral_norm": SpectralNorm,
}
