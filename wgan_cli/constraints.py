"""The constraints: how the critic is kept Lipschitz.

A constraint is a class with up to three hooks, all of them optional, and one line in ``CONSTRAINTS``. Its settings are
the fields of its dataclass.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from wgan_cli.networks.players import Batch
from wgan_cli.parameters import Range

Weight = Annotated[float, Range(low=0)]


@dataclass(frozen=True)
class Constraint:
    """No constraint, and the hooks that the others override.

    Attributes:
        penalizes_gradients: Whether :meth:`penalty` needs the gradient of each score at its sample. A critic with
            BatchNorm has none, because each of its scores depends on the whole batch.
    """

    penalizes_gradients: ClassVar[bool] = False

    def wrap(self, critic: nn.Module) -> nn.Module:
        """Change the critic once, when it is built, and return it."""
        return critic

    def penalty(self, critic: nn.Module, real: Batch, fake: Batch, stream: torch.Generator) -> Tensor:
        """Return the weighted term that is added to the critic's loss, a scalar ≥ 0.

        Args:
            critic: Maps samples to scores (batch,), as ``critic(*real)``.
            real: Real samples (batch, ...), and their classes or None.
            fake: Generated samples of the same shape and classes, without a graph.
            stream: Random numbers, on the device of the samples.
        """
        return real.samples.new_zeros(())

    def project(self, critic: nn.Module) -> None:
        """Change the critic in place after each of its updates."""


@dataclass(frozen=True)
class Clip(Constraint):
    """Weight clipping: every parameter stays in [−clip_value, clip_value].

    Source: Arjovsky et al. 2017, Algorithm 1, line 7.
    """

    clip_value: Annotated[float, Range(above=0)] = 0.03

    @torch.no_grad()
    def project(self, critic: nn.Module) -> None:
        """Clip all parameters, including biases and those of normalisation layers."""
        parameters: list[Tensor] = list(critic.parameters())
        torch._foreach_clamp_min_(parameters, -self.clip_value)
        torch._foreach_clamp_max_(parameters, self.clip_value)


@dataclass(frozen=True)
class GradientPenalty(Constraint):
    """Two-sided penalty on the critic's gradient norm: weight · mean((‖∇f(x̂)‖₂ − 1)²).

    x̂ = ε·real + (1 − ε)·fake with one ε ~ U[0, 1] for each sample. The norm is over all dimensions of a sample.

    Source: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3.
    """

    weight: Weight = 10.0
    penalizes_gradients = True

    def penalty(self, critic: nn.Module, real: Batch, fake: Batch, stream: torch.Generator) -> Tensor:
        """Penalise norms on both sides of 1, in float32 at any precision."""
        return self.weight * (gradient_norms(critic, interpolate(real, fake, stream)) - 1).square().mean()


@dataclass(frozen=True)
class LipschitzPenalty(Constraint):
    """One-sided penalty: weight · mean(max(0, ‖∇f(x̂)‖₂ − 1)²). Norms below 1 are not penalised.

    Source: Petzka et al. 2018, "On the regularization of Wasserstein GANs", equation 8.
    """

    weight: Weight = 10.0
    penalizes_gradients = True

    def penalty(self, critic: nn.Module, real: Batch, fake: Batch, stream: torch.Generator) -> Tensor:
        """Penalise norms above 1, in float32 at any precision."""
        return self.weight * (gradient_norms(critic, interpolate(real, fake, stream)) - 1).relu().square().mean()


@dataclass(frozen=True)
class SpectralNorm(Constraint):
    """Every weight is divided by its largest singular value.

    A convolution's weight counts as the matrix (out_channels, in_channels · height · width).

    Source: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", equation 8. They estimate
    the singular value by one step of power iteration per update. Early in training, when weights change much, that
    estimate is off by 30 % or more. Here the value is computed anew after each update.
    """

    def wrap(self, critic: nn.Module) -> nn.Module:
        """Parametrise the weight of each convolution and linear layer."""
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                parametrize.register_parametrization(module, "weight", SpectrallyNormalized(module.weight))
        return critic

    def project(self, critic: nn.Module) -> None:
        """Compute the singular vectors of the updated weights."""
        for module in critic.modules():
            if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], SpectrallyNormalized):
                module[0].refresh(module.original)


class SpectrallyNormalized(nn.Module):
    """Maps a weight (out, ...) to that weight divided by its largest singular value.

    Args:
        weight: The initial weight.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", matrix.new_empty(matrix.shape[0]))
        self.register_buffer("right", matrix.new_empty(matrix.shape[1]))
        if not weight.is_meta:  # a weight on the meta device has no values, and a loaded state brings the vectors
            self.refresh(weight)

    def forward(self, weight: Tensor) -> Tensor:
        """Return weight / σ with σ = uᵀ W v. Gradients flow through W; u and v are constants."""
        device = "cpu" if weight.is_meta else weight.device.type  # autocast does not support the meta device
        with torch.autocast(device, enabled=False):
            sigma = torch.dot(self.left, torch.mv(weight.flatten(1), self.right))
            return weight / sigma

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        """Compute the singular vectors u and v of the largest singular value."""
        left, right = top_singular_vectors(weight.flatten(1))
        self.left.copy_(left)
        self.right.copy_(right)


def top_singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left and the right singular vector, (rows,) and (columns,), of the largest singular value.

    Squaring the Gram matrix seven times equals 128 steps of power iteration, in a dozen calls that never wait for the
    device. If that cannot separate two singular values, they are so close that either vector will do.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    power = wide @ wide.T
    for _ in range(7):
        power = power / power.trace().clamp_min(1e-30)  # keeps the eigenvalues in [0, 1], so that nothing overflows
        power = power @ power
    longest = power.diagonal().argmax().view(1)
    left = F.normalize(power.index_select(1, longest).squeeze(1), dim=0)
    right = F.normalize(wide.T @ left, dim=0)
    return (right, left) if tall else (left, right)


def interpolate(real: Batch, fake: Batch, stream: torch.Generator) -> Batch:
    """Draw a point between each real sample and its fake one.

    Returns:
        float32, shaped as ``real``: ε·real + (1 − ε)·fake with one ε ~ U[0, 1] for each sample, and the same classes.
    """
    shape = (len(real.samples),) + (1,) * (real.samples.dim() - 1)
    epsilon = torch.rand(shape, generator=stream, device=real.samples.device)
    return Batch(torch.lerp(fake.samples.float(), real.samples.float(), epsilon), real.classes)


def gradient_norms(critic: nn.Module, points: Batch) -> Tensor:
    """Return ‖∇f(x)‖₂ for each sample, (batch,), differentiable by the critic's parameters.

    Autocast is off, because half precision loses digits that the penalty needs. ``vector_norm`` has a
    finite gradient at zero, unlike the square root of a sum of squares.
    """
    samples = points.samples.detach().requires_grad_()
    with torch.autocast(samples.device.type, enabled=False):
        scores = critic(samples, points.classes)
        (gradients,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
        norms: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
    return norms


CONSTRAINTS: dict[str, type[Constraint]] = {
    "clip": Clip,
    "gradient_penalty": GradientPenalty,
    "lipschitz_penalty": LipschitzPenalty,
    "none": Constraint,
    "spectral_norm": SpectralNorm,
}
