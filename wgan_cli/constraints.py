"""The constraints: how the critic is kept Lipschitz.

A constraint is a class with up to three hooks, each of which may be left out, and one line in ``CONSTRAINTS``.
Its parameters are the fields of its dataclass.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from wgan_cli.parameters import Range

Weight = Annotated[float, Range(low=0)]


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

    def penalty(self, critic: nn.Module, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
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

    def penalty(self, critic: nn.Module, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        """Penalise norms on both sides of 1, computed in float32 whatever the precision."""
        return self.weight * (gradient_norms(critic, interpolate(real, fake, epsilon)) - 1).square().mean()


@dataclass(frozen=True)
class LipschitzPenalty(Constraint):
    """One-sided penalty: weight · mean(max(0, ‖∇f(x̂)‖₂ − 1)²), so that smaller norms are free.

    Source: Petzka et al. 2018, "On the regularization of Wasserstein GANs", equation 8.
    """

    weight: Weight = 10.0
    penalizes_gradients = True

    def penalty(self, critic: nn.Module, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        """Penalise only norms above 1, computed in float32 whatever the precision."""
        return self.weight * (gradient_norms(critic, interpolate(real, fake, epsilon)) - 1).relu().square().mean()


@dataclass(frozen=True)
class SpectralNorm(Constraint):
    """Every weight is divided by its largest singular value, as power iteration estimates it.

    A convolution's weight counts as the matrix (out_channels, in_channels · height · width).

    Source: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", Algorithm 1.
    """

    power_iterations: Annotated[int, Range(1, 100)] = 1

    def wrap(self, critic: nn.Module) -> nn.Module:
        """Parametrise the weight of each convolution and linear layer."""
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                normalized = SpectrallyNormalized(module.weight, self.power_iterations)
                parametrize.register_parametrization(module, "weight", normalized)
        return critic


class SpectrallyNormalized(nn.Module):
    """The map from a weight to that weight divided by its largest singular value.

    Each forward pass in train mode takes ``iterations`` steps of power iteration from where the last one ended. (Unlike
    torch's own parametrisation, this one stays in float32 under autocast.)

    Args:
        weight: (out, ...); the first estimate is made from it.
        iterations: Steps of power iteration in each forward pass.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", F.normalize(matrix.new_ones(matrix.shape[0]), dim=0))
        self.register_buffer("right", F.normalize(matrix.new_empty(matrix.shape[1]).normal_(), dim=0))
        self._iterate(matrix, 20)

    def forward(self, weight: Tensor) -> Tensor:
        """Return weight / σ, where σ = uᵀ W v is differentiable by the weight and u, v count as constants."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix.detach(), self.iterations)
            # Cloned, because a later forward pass changes them before this one's backward pass has used them.
            sigma = torch.dot(self.left.clone(), torch.mv(matrix, self.right.clone()))
            normalized: Tensor = weight / sigma
        return normalized

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, times: int) -> None:
        for _ in range(times):
            self.left.copy_(F.normalize(torch.mv(matrix, self.right), dim=0))
            self.right.copy_(F.normalize(torch.mv(matrix.T, self.left), dim=0))


def interpolate(real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
    """Draw a point between each real and its fake image.

    Returns:
        float32, shaped as ``real``: ε·real + (1 − ε)·fake with one ε ~ U[0, 1] for each sample.
    """
    shape = (len(real),) + (1,) * (real.dim() - 1)
    weights = torch.rand(shape, generator=epsilon, device=real.device)
    return torch.lerp(fake.float(), real.float(), weights)


def gradient_norms(critic: nn.Module, images: Tensor) -> Tensor:
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
