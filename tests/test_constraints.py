import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tests import references
from tests.builders import bits, build_network
from wgan_cli.constraints import (
    CONSTRAINTS,
    Clip,
    Constraint,
    GradientPenalty,
    LipschitzPenalty,
    SpectralNorm,
    gradient_norms,
    interpolate,
    top_singular_vectors,
)
from wgan_cli.networks import CRITICS
from wgan_cli.networks.players import Batch

SHAPE = (3, 2, 4, 5)  # all four differ, so that a norm over the wrong dimension shows
BOTH_PENALTIES = pytest.mark.parametrize("penalty", [GradientPenalty, LipschitzPenalty])


class Quadratic(nn.Module):
    """f(x) = ½ Σ sᵢ xᵢ² + Σ aᵢ xᵢ, whose gradient is s·x + a. It keeps the samples that it was shown."""

    def __init__(self, slope: Tensor, curvature: Tensor | None = None) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope)
        self.curvature = nn.Parameter(torch.zeros_like(slope) if curvature is None else curvature)
        self.seen: list[Tensor] = []

    def forward(self, samples: Tensor, classes: None) -> Tensor:
        self.seen.append(samples.detach())
        return (0.5 * self.curvature * samples.square() + self.slope * samples).flatten(1).sum(1)

    def gradients(self, samples: Tensor) -> references.Array:
        """Return the closed form at given samples."""
        return numpy(self.curvature * samples + self.slope)


def numpy(tensor: Tensor) -> references.Array:
    return tensor.detach().double().numpy()


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int, count: int = SHAPE[0]) -> Tensor:
    return torch.rand(count, *SHAPE[1:], generator=stream(seed)) * 2 - 1


def quadratic(scale: float = 0.5) -> Quadratic:
    slope, curvature = (scale * torch.randn(SHAPE[1:], generator=stream(seed)) for seed in (5, 6))
    return Quadratic(slope, curvature)


def penalise(constraint: Constraint, critic: nn.Module, real: Tensor, fake: Tensor, seed: int = 0) -> Tensor:
    return constraint.penalty(critic, Batch(real), Batch(fake), stream(seed))


def weighted(critic: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [module for module in critic.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


# Penalties.


@pytest.mark.parametrize(("norm", "weight"), [(0.0, 10.0), (0.25, 0.5), (1.0, 10.0), (3.0, 0.5)])
def test_a_linear_critic_has_the_penalty_of_its_slope(norm: float, weight: float) -> None:
    slope = torch.randn(SHAPE[1:], generator=stream(1))
    critic = Quadratic(slope / slope.norm() * norm)
    two_sided = penalise(GradientPenalty(weight), critic, images(1), images(2)).item()
    one_sided = penalise(LipschitzPenalty(weight), critic, images(1), images(2)).item()
    # float32: the norm is right to some 1e-7, and so is the square of its distance from 1, absolutely.
    assert two_sided == pytest.approx(weight * (norm - 1) ** 2, rel=1e-5, abs=1e-5)
    assert one_sided == pytest.approx(weight * max(0.0, norm - 1) ** 2, rel=1e-5, abs=1e-5)


@BOTH_PENALTIES
def test_penalties_are_the_papers_at_the_interpolated_points(penalty: type[Constraint]) -> None:
    critic = quadratic()
    found = penalise(penalty(), critic, images(1), images(2)).item()
    (points,) = critic.seen
    reference = references.gradient_penalty if penalty is GradientPenalty else references.lipschitz_penalty
    # float32 sums of 40 squares against float64: about 1e-6.
    assert found == pytest.approx(reference(critic.gradients(points), 10.0), rel=1e-5)
    norms = numpy(gradient_norms(critic, Batch(points)))
    np.testing.assert_allclose(norms, references.sample_norms(critic.gradients(points)), rtol=1e-5)
    alone = [gradient_norms(critic, Batch(point[None])).item() for point in points]
    np.testing.assert_allclose(norms, alone, rtol=1e-6)  # a sample's norm does not depend on the others


def test_points_lie_between_real_and_fake_by_one_epsilon_for_each_sample() -> None:
    real, fake, critic = images(1, 64), images(2, 64), quadratic()
    penalise(GradientPenalty(), critic, real, fake, seed=3)
    epsilon = torch.rand(64, generator=stream(3))
    expected = references.between(numpy(real), numpy(fake), numpy(epsilon))
    np.testing.assert_allclose(numpy(critic.seen[0]), expected, rtol=0, atol=1e-6)
    classes = torch.arange(64)
    points = interpolate(Batch(real, classes), Batch(fake, classes), stream(3))
    torch.testing.assert_close(points, Batch(critic.seen[0], classes), rtol=0, atol=0)
    assert not torch.equal(interpolate(Batch(real), Batch(fake), stream(4)).samples, critic.seen[0])


@BOTH_PENALTIES
def test_the_gradient_is_finite_if_the_critics_gradient_is_zero(penalty: type[Constraint]) -> None:
    """The square root of a sum of squares has no gradient at zero, and one NaN ends a run."""
    critic = Quadratic(torch.zeros(SHAPE[1:]))
    torch.autograd.backward(penalise(penalty(), critic, images(1), images(2)))
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in critic.parameters())


@BOTH_PENALTIES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_penalties_are_float32_under_autocast(penalty: type[Constraint], dtype: torch.dtype) -> None:
    """bf16 has 8 bits: a penalty computed in it would differ in the third digit."""
    large: dict[str, Any] = {"initialization": "normal", "initialization_std": 0.5}
    critic = build_network(CRITICS["mlp"], (1, 4, 4), hidden_sizes=(16,), **large)
    dtypes: list[torch.dtype] = []
    weighted(critic)[0].register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
    real, fake = torch.rand(6, 1, 4, 4).to(dtype), -torch.rand(6, 1, 4, 4).to(dtype)
    plain = penalise(penalty(), critic, real.float(), fake.float())
    with torch.autocast("cpu", torch.bfloat16):
        inside = penalise(penalty(), critic, real, fake)
    assert inside.dtype == torch.float32
    assert dtypes == [torch.float32, torch.float32]
    torch.testing.assert_close(inside, plain, rtol=0, atol=0)
    assert plain > 0.01


@pytest.mark.parametrize("penalty", [GradientPenalty(2.0), LipschitzPenalty(2.0)], ids=repr)
def test_the_gradient_of_a_linear_critics_penalty(penalty: Constraint) -> None:
    """It is in closed form. Neither the samples nor the global random stream change."""
    slope = torch.randn(SHAPE[1:], generator=stream(1))
    norm = slope.norm()
    assert norm > 1
    critic, real, fake, before = Quadratic(slope), images(1), images(2), torch.get_rng_state()
    torch.autograd.backward(penalise(penalty, critic, real, fake))
    assert critic.slope.grad is not None
    torch.testing.assert_close(critic.slope.grad, 2 * 2.0 * (norm - 1) * slope / norm, rtol=1e-5, atol=1e-6)
    assert not real.requires_grad
    assert bits([real, fake, torch.get_rng_state()]) == bits([images(1), images(2), before])


# Hooks and clipping.


@pytest.mark.parametrize("name", ["clip", "gradient_penalty", "lipschitz_penalty", "none", "spectral_norm"])
def test_each_constraint_overrides_only_its_own_hooks(name: str) -> None:
    constraint, critic = CONSTRAINTS[name](), build_network(CRITICS["mlp"], (1, 8, 8), hidden_sizes=(4,))
    penalises = bool(penalise(constraint, quadratic(4.0), images(1), images(2)) > 0)
    assert penalises == constraint.penalizes_gradients == (name in ("gradient_penalty", "lipschitz_penalty"))
    before = copy.deepcopy(critic.state_dict())
    constraint.project(critic)
    same = all(torch.equal(value, before[key]) for key, value in critic.state_dict().items())
    assert same == (name != "clip")
    assert constraint.wrap(critic) is critic
    assert (critic.state_dict().keys() == before.keys()) == (name != "spectral_norm")


@pytest.mark.parametrize("value", [0.01, 0.1])
@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_clip_changes_only_parameters_outside_the_range(kind: str, value: float) -> None:
    critic = build_network(CRITICS[kind], (1, 16, 16), normalization="layer")  # which has scales and shifts as well
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 1.5 * value)
    before = {name: parameter.detach().clone() for name, parameter in critic.named_parameters()}
    Clip(value).project(critic)
    c = torch.tensor(value)  # rounded to float32, as the bound itself is
    for name, parameter in critic.named_parameters():
        assert (parameter.abs() <= c).all()
        inside = before[name].abs() <= c
        assert torch.equal(parameter[inside], before[name][inside])
        assert torch.equal(parameter[~inside], before[name][~inside].sign() * c)


# Spectral normalisation.


def build_critic(kind: str = "mlp") -> nn.Module:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 8} if kind == "dcgan" else {"hidden_sizes": (32, 16)}
    critic: nn.Module = build_network(CRITICS[kind], (1, 16, 16), **sizes)
    return critic


def original(module: nn.Module) -> nn.Parameter:
    parametrization = module.get_submodule("parametrizations.weight")
    assert isinstance(parametrization, parametrize.ParametrizationList)
    assert isinstance(parametrization.original, nn.Parameter)
    return parametrization.original


def largest_singular_values(critic: nn.Module) -> list[float]:
    """Of the weights as a forward pass uses them."""
    return [references.largest_singular_value(module.weight.detach()) for module in weighted(critic)]


def assert_normalized(critic: nn.Module) -> None:
    """128 steps of power iteration leave the largest singular value within 0.1 % (float32 itself within 1e-6)."""
    norms = largest_singular_values(critic)
    assert norms == pytest.approx([1.0] * len(norms), abs=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_spectral_norm_makes_the_largest_singular_value_one(kind: str) -> None:
    """In float32, under autocast as well."""
    critic = build_critic(kind)
    before = largest_singular_values(critic)
    assert max(abs(norm - 1) for norm in before) > 0.3  # otherwise there would be nothing to do
    SpectralNorm().wrap(critic)
    dtypes: list[torch.dtype] = []
    weighted(critic)[0].register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        critic(torch.randn(4, 1, 16, 16))
        assert dtypes == [torch.bfloat16]  # autocast is on, and only the division by σ is excluded
        assert all(module.weight.dtype == torch.float32 for module in weighted(critic))
    assert len(largest_singular_values(critic)) == len(before)
    assert_normalized(critic)


def test_spectral_norm_keeps_up_with_the_first_updates() -> None:
    """Adam's first updates move every weight by more than its own size: one step of power iteration is off by 5 %."""
    constraint = SpectralNorm()
    critic = constraint.wrap(build_critic("dcgan"))
    optimizer = torch.optim.Adam(critic.parameters(), 0.02, betas=(0.0, 0.9))
    for index in range(10):
        optimizer.zero_grad()
        samples = torch.randn(8, 1, 16, 16, generator=stream(index))
        torch.autograd.backward(critic(samples).mean() - critic(samples.abs()).mean())
        optimizer.step()
        constraint.project(critic)
        assert_normalized(critic)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 3), (3, 5), (40, 60)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_top_singular_vectors(shape: tuple[int, int], scale: float) -> None:
    matrix = scale * torch.randn(shape, generator=stream(4))
    left, right = top_singular_vectors(matrix)
    assert left.shape == shape[:1]
    assert right.shape == shape[1:]
    assert [left.norm().item(), right.norm().item()] == pytest.approx([1, 1], abs=1e-5)
    largest = references.largest_singular_value(matrix)
    assert (left @ matrix @ right).item() == pytest.approx(largest, rel=1e-3)


def test_the_gradient_of_spectral_norm_is_the_papers() -> None:
    """Miyato et al. 2018, equation 12: (∂L/∂W̄ − ⟨∂L/∂W̄, W̄⟩ u vᵀ) / σ. u and v count as constants."""
    layer = SpectralNorm().wrap(nn.Linear(5, 4))
    assert isinstance(layer, nn.Linear)
    by_effective = torch.randn(4, 5)
    torch.autograd.backward((layer.weight * by_effective).sum())
    weight, effective = original(layer), layer.weight.detach()
    u, _, v = torch.linalg.svd(weight.detach())
    sigma = torch.linalg.matrix_norm(weight.detach(), 2)
    expected = (by_effective - (by_effective * effective).sum() * torch.outer(u[:, 0], v[0])) / sigma
    assert weight.grad is not None
    # float32, and vectors that 128 iterations have brought to some 1e-5 of the SVD's
    torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-3)


def test_only_the_projection_moves_the_vectors() -> None:
    critic = SpectralNorm().wrap(build_critic())
    with torch.no_grad():
        for module in weighted(critic):
            original(module).copy_(torch.randn(original(module).shape))
    before = {name: buffer.clone() for name, buffer in critic.named_buffers()}
    first, second = critic(torch.ones(2, 1, 16, 16)), critic(torch.zeros(2, 1, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in critic.named_buffers())
    torch.autograd.backward(first.mean() - second.mean())  # fails if the second pass overwrote the first one's vectors
    SpectralNorm().project(critic)
    assert not any(torch.equal(value, before[name]) for name, value in critic.named_buffers() if value.numel() > 1)
