import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tests import references
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
from wgan_cli.networks.dcgan import DCGANCritic
from wgan_cli.networks.mlp import MLPCritic

SHAPE = (3, 2, 4, 5)  # all four differ, so that a norm over the wrong dimension shows
PENALTIES = [GradientPenalty(), LipschitzPenalty()]


class Quadratic(nn.Module):
    """f(x) = ½ Σ sᵢ xᵢ² + Σ aᵢ xᵢ, whose gradient is s·x + a. It keeps the images that it was shown."""

    def __init__(self, slope: Tensor, curvature: Tensor | None = None) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope)
        self.curvature = nn.Parameter(torch.zeros_like(slope) if curvature is None else curvature)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return (0.5 * self.curvature * images.square() + self.slope * images).flatten(1).sum(1)

    def gradients(self, images: Tensor) -> references.Array:
        """The closed form at given images."""
        return numpy(self.curvature * images + self.slope)


def numpy(tensor: Tensor) -> references.Array:
    return tensor.detach().double().numpy()


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int, count: int = SHAPE[0]) -> Tensor:
    return torch.rand(count, *SHAPE[1:], generator=stream(seed)) * 2 - 1


def quadratic(scale: float = 0.5) -> Quadratic:
    return Quadratic(
        scale * torch.randn(SHAPE[1:], generator=stream(5)), scale * torch.randn(SHAPE[1:], generator=stream(6))
    )


def penalty_of(constraint: Constraint, critic: nn.Module, real: Tensor, fake: Tensor, seed: int = 0) -> Tensor:
    return constraint.penalty(critic, real, fake, stream(seed))


@pytest.mark.parametrize("norm", [0.0, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("weight", [10.0, 0.5])
def test_linear_critic_has_the_penalty_of_its_slope(norm: float, weight: float) -> None:
    slope = torch.randn(SHAPE[1:], generator=stream(1))
    critic = Quadratic(slope / slope.norm() * norm)
    two_sided = penalty_of(GradientPenalty(weight), critic, images(1), images(2)).item()
    one_sided = penalty_of(LipschitzPenalty(weight), critic, images(1), images(2)).item()
    # float32: the norm is right to some 1e-7, and so is the square of its distance from 1, absolutely.
    assert two_sided == pytest.approx(weight * (norm - 1) ** 2, rel=1e-5, abs=1e-5)
    assert one_sided == pytest.approx(weight * max(0.0, norm - 1) ** 2, rel=1e-5, abs=1e-5)


def test_penalties_are_the_papers_at_the_interpolated_points() -> None:
    critic, real, fake = quadratic(), images(1), images(2)
    for constraint, reference in (
        (GradientPenalty(3.0), references.gradient_penalty),
        (LipschitzPenalty(3.0), references.lipschitz_penalty),
    ):
        penalty = penalty_of(constraint, critic, real, fake).item()
        # float32 sums of 40 squares against float64: about 1e-6.
        assert penalty == pytest.approx(reference(critic.gradients(critic.seen[-1]), 3.0), rel=1e-5)


def test_one_epsilon_for_each_sample_from_the_stream_given() -> None:
    real, fake = images(1, 64), images(2, 64)
    real += torch.where(real > fake, 0.5, -0.5)  # so that dividing by real − fake is harmless
    critic = quadratic()
    penalty_of(GradientPenalty(), critic, real, fake, seed=3)
    epsilon = numpy(((critic.seen[0] - fake) / (real - fake)).flatten(1))
    # One number a sample: pixels agree to float32's rounding over a difference of at least 0.5.
    assert np.ptp(epsilon, axis=1).max() < 1e-5
    epsilon = epsilon.mean(axis=1)
    assert epsilon.min() >= -1e-6
    assert epsilon.max() <= 1 + 1e-6
    assert len(np.unique(epsilon.round(6))) == 64
    # U[0, 1]: the mean of 64 has a standard deviation of 0.036, and all of them miss a fifth with odds of 6e-7.
    assert abs(epsilon.mean() - 0.5) < 0.15
    assert epsilon.min() < 0.2
    assert epsilon.max() > 0.8
    np.testing.assert_allclose(
        numpy(critic.seen[0]), references.between(numpy(real), numpy(fake), epsilon), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(interpolate(real, fake, stream(3)), critic.seen[0], rtol=0, atol=0)
    assert not torch.equal(interpolate(real, fake, stream(4)), critic.seen[0])


def test_interpolation_runs_from_fake_to_real() -> None:
    """ε belongs to the real image: with real at 1 and fake at 0 the points are the stream's own numbers."""
    points = interpolate(torch.ones(5, 1, 2, 2), torch.zeros(5, 1, 2, 2), stream(7))
    expected = torch.rand(5, 1, 1, 1, generator=stream(7)).expand(5, 1, 2, 2)
    torch.testing.assert_close(points, expected, rtol=0, atol=1e-7)


def _over_one_dimension(critic: Quadratic, points: Tensor, *_: Tensor) -> float:
    """PyTorch-GAN #20, Zeleni9 #40: the norm over channels of unflattened gradients."""
    return float(10 * np.mean((np.sqrt((critic.gradients(points) ** 2).sum(axis=1)) - 1) ** 2))


def _over_the_batch(critic: Quadratic, points: Tensor, *_: Tensor) -> float:
    """Torchgan: one norm of the whole batch's gradients."""
    return float(10 * (np.sqrt((critic.gradients(points) ** 2).sum()) - 1) ** 2)


def _of_the_mean_score(critic: Quadratic, points: Tensor, *_: Tensor) -> float:
    """The gradient of a mean over the batch instead of a sum: each norm divided by the batch size."""
    return references.gradient_penalty(critic.gradients(points) / len(points), 10)


def _one_epsilon_for_the_batch(critic: Quadratic, points: Tensor, real: Tensor, fake: Tensor) -> float:
    """Torchgan: alpha of shape (1,)."""
    epsilon = torch.rand(1, generator=stream()).item()  # the first sample's number, for all
    return references.gradient_penalty(
        critic.gradients(epsilon * real + (1 - epsilon) * fake).reshape(points.shape), 10
    )


def _at_real_points(critic: Quadratic, points: Tensor, real: Tensor, fake: Tensor) -> float:
    """labml: "we set ε = 1"."""
    assert points.shape == fake.shape
    return references.gradient_penalty(critic.gradients(real), 10)


def _one_sided(critic: Quadratic, points: Tensor, *_: Tensor) -> float:
    return references.lipschitz_penalty(critic.gradients(points), 10)


BUGS: list[Callable[..., float]] = [
    _over_one_dimension,
    _over_the_batch,
    _of_the_mean_score,
    _one_epsilon_for_the_batch,
    _at_real_points,
    _one_sided,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__.strip("_"))
def test_other_trainers_bugs_give_other_numbers(bug: Callable[..., float]) -> None:
    critic, real, fake = quadratic(scale=0.12), images(1), images(2)  # norms below 1, where one-sided is free
    penalty = penalty_of(GradientPenalty(), critic, real, fake).item()
    wrong = bug(critic, critic.seen[0], real, fake)
    assert abs(wrong - penalty) > 0.05 * penalty  # thousands of times the tolerance at which the right one agrees
    assert penalty == pytest.approx(references.gradient_penalty(critic.gradients(critic.seen[0]), 10), rel=1e-5)


@pytest.mark.parametrize("constraint", PENALTIES, ids=lambda constraint: type(constraint).__name__)
def test_penalty_does_not_mix_samples(constraint: Constraint) -> None:
    """A sample's share is the same beside any other, so the batch's penalty is the mean of its samples' own."""
    critic, real, fake = quadratic(), images(1), images(2)
    whole = penalty_of(constraint, critic, real, fake).item()
    norms = numpy(gradient_norms(critic, critic.seen[0]))
    alone = [numpy(gradient_norms(critic, point[None]))[0] for point in critic.seen[0]]
    np.testing.assert_allclose(norms, alone, rtol=1e-6)
    np.testing.assert_allclose(norms, references.sample_norms(critic.gradients(critic.seen[0])), rtol=1e-5)
    excess = norms - 1 if isinstance(constraint, GradientPenalty) else np.maximum(norms - 1, 0)
    assert whole == pytest.approx(10 * float(np.mean(excess**2)), rel=1e-5)


def test_lipschitz_penalty_is_free_below_one_and_the_gradient_penalty_above() -> None:
    gentle, steep = quadratic(scale=0.01), quadratic(scale=2.0)
    real, fake = images(1), images(2)
    assert penalty_of(LipschitzPenalty(), gentle, real, fake).item() == 0.0
    assert penalty_of(GradientPenalty(), gentle, real, fake).item() > 1
    assert penalty_of(LipschitzPenalty(), steep, real, fake).item() > 1
    torch.testing.assert_close(
        penalty_of(LipschitzPenalty(), steep, real, fake),
        penalty_of(GradientPenalty(), steep, real, fake),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("constraint", PENALTIES, ids=lambda constraint: type(constraint).__name__)
def test_gradient_is_finite_where_the_critics_gradient_is_zero(constraint: Constraint) -> None:
    """The square root of a sum of squares has no gradient at zero, and one NaN ends a run."""
    critic = Quadratic(torch.zeros(SHAPE[1:]))
    torch.autograd.backward(penalty_of(constraint, critic, images(1), images(2)))
    for parameter in critic.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("constraint", PENALTIES, ids=lambda constraint: type(constraint).__name__)
@pytest.mark.parametrize("images_dtype", [torch.float32, torch.bfloat16])
def test_float32_under_bf16_autocast(constraint: Constraint, images_dtype: torch.dtype) -> None:
    """bf16 has 8 bits: the penalty computed in it would differ in the third digit."""
    critic = MLPCritic(4, 1, hidden_sizes=(16,), initialization="normal", initialization_std=0.5)
    dtypes: list[torch.dtype] = []
    weighted(critic)[0].register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
    real, fake = torch.rand(6, 1, 4, 4).to(images_dtype), -torch.rand(6, 1, 4, 4).to(images_dtype)
    plain = penalty_of(constraint, critic, real.float(), fake.float())
    with torch.autocast("cpu", torch.bfloat16):
        inside = penalty_of(constraint, critic, real, fake)
    assert inside.dtype == torch.float32
    assert dtypes == [torch.float32, torch.float32]
    torch.testing.assert_close(inside, plain, rtol=0, atol=0)
    assert plain > 0.01


class Smooth(nn.Module):
    """tanh(x·first)·second, with weights that are given rather than kept, as gradcheck wants them."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1) @ self.first) @ self.second


def test_norms_are_differentiable_by_the_critics_weights() -> None:
    """Against finite differences: a missing create_graph would make the penalty a constant."""
    points = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=stream(1))
    first = torch.randn(4, 3, dtype=torch.float64, generator=stream(2)).requires_grad_()
    second = torch.randn(3, dtype=torch.float64, generator=stream(3)).requires_grad_()
    # float64 and gradcheck's own step of 1e-6 and tolerance of 1e-5.
    assert torch.autograd.gradcheck(lambda a, b: gradient_norms(Smooth(a, b), points), (first, second))


def test_penalty_gradient_of_a_linear_critic_is_the_closed_form() -> None:
    slope = torch.randn(SHAPE[1:], generator=stream(1))
    critic = Quadratic(slope)
    torch.autograd.backward(penalty_of(GradientPenalty(2.0), critic, images(1), images(2)))
    norm = slope.norm()
    assert critic.slope.grad is not None
    torch.testing.assert_close(critic.slope.grad, 2 * 2.0 * (norm - 1) * slope / norm, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("constraint", PENALTIES, ids=lambda constraint: type(constraint).__name__)
def test_penalty_leaves_images_and_global_stream_alone(constraint: Constraint) -> None:
    real, fake, before = images(1), images(2), torch.get_rng_state()
    torch.autograd.backward(penalty_of(constraint, quadratic(), real, fake))
    assert not real.requires_grad
    assert real.grad is None
    assert torch.equal(real, images(1))
    assert torch.equal(fake, images(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_others_have_no_penalty() -> None:
    for name, constraint in CONSTRAINTS.items():
        penalised = bool(constraint().penalty(quadratic(4.0), images(1), images(2), stream()) > 0)
        assert penalised == (name in ("gradient_penalty", "lipschitz_penalty")) == constraint.penalizes_gradients


@pytest.mark.parametrize("name", sorted(set(CONSTRAINTS) - {"clip"}))
def test_only_clip_projects(name: str) -> None:
    critic = MLPCritic(8, 1, hidden_sizes=(4,))
    before = copy.deepcopy(critic.state_dict())
    CONSTRAINTS[name]().project(critic)
    for key, value in critic.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("value", [0.01, 0.1])
@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_clip_keeps_every_parameter_within_and_the_small_ones_as_they_were(kind: str, value: float) -> None:
    critic = CRITICS[kind](16, 1, normalization="layer")  # with scales and shifts of a normalisation
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 1.5 * value)
    before = {name: parameter.detach().clone() for name, parameter in critic.named_parameters()}
    assert Clip(value).wrap(critic) is critic
    Clip(value).project(critic)
    assert any("bias" in name for name in before)
    c = torch.tensor(value)  # rounded to float32, as the bound itself is
    for name, parameter in critic.named_parameters():
        assert (parameter.abs() <= c).all()
        inside = before[name].abs() <= c
        assert torch.equal(parameter[inside], before[name][inside])
        assert torch.equal(parameter[~inside], before[name][~inside].sign() * c)
    clipped = torch.cat([(before[name].abs() > c).flatten() for name in before]).double().mean().item()
    assert clipped == pytest.approx(0.505, abs=0.05)  # P(|N(0, 1.5)| > 1), over a thousand parameters and more


# Spectral normalisation.


def spectral(kind: str = "mlp", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"width": 8} if kind == "dcgan" else {"hidden_sizes": (32, 16)}
    return SpectralNorm().wrap(CRITICS[kind](16, 1, **sizes))


def weighted(critic: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [module for module in critic.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def effective_weights(critic: nn.Module) -> list[Tensor]:
    """The weights as a forward pass in eval mode uses them: reading them moves nothing."""
    was_training = critic.training
    critic.eval()
    weights = [module.weight.detach() for module in weighted(critic)]
    critic.train(was_training)
    return weights


def vectors(critic: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in critic.named_buffers()}


def original(module: nn.Module) -> nn.Parameter:
    parametrization = module.get_submodule("parametrizations.weight")
    assert isinstance(parametrization, parametrize.ParametrizationList)
    assert isinstance(parametrization.original, nn.Parameter)
    return parametrization.original


def assert_normalized(critic: nn.Module) -> None:
    """128 steps of power iteration leave the largest singular value within 0.1 % (float32 itself within 1e-6)."""
    norms = [references.largest_singular_value(weight) for weight in effective_weights(critic)]
    assert norms == pytest.approx([1.0] * len(norms), abs=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_spectral_norm_makes_the_largest_singular_value_one(kind: str) -> None:
    torch.manual_seed(0)
    plain = DCGANCritic(16, 1, width=8) if kind == "dcgan" else MLPCritic(16, 1, hidden_sizes=(32, 16))
    norms_before = [references.largest_singular_value(module.weight.detach()) for module in weighted(plain)]
    assert max(abs(norm - 1) for norm in norms_before) > 0.3  # or there would be nothing to do
    critic = spectral(kind)
    assert len(effective_weights(critic)) == len(norms_before)
    assert_normalized(critic)


def test_spectral_norm_keeps_up_with_the_first_updates() -> None:
    """Adam's first updates move every weight by the whole learning rate: more than the weights' own size here.

    One step of power iteration for each update, as the paper has it, is far behind then, which is kept here.
    """
    constraint = SpectralNorm()
    critic = spectral("dcgan")
    one_step = {
        module: torch.nn.functional.normalize(torch.randn(len(module.weight)), dim=0) for module in weighted(critic)
    }
    optimizer = torch.optim.Adam(critic.parameters(), 0.02, betas=(0.0, 0.9))
    behind = 0.0
    for index in range(10):
        optimizer.zero_grad()
        images = torch.randn(8, 1, 16, 16, generator=stream(index))
        torch.autograd.backward(critic(images).mean() - critic(images.abs()).mean())
        optimizer.step()
        constraint.project(critic)
        assert_normalized(critic)
        for module, left in one_step.items():
            matrix = original(module).detach().flatten(1)
            right = torch.nn.functional.normalize(matrix.T @ left, dim=0)
            estimate = (matrix @ right).norm().item()
            one_step[module] = (matrix @ right) / estimate
            behind = max(behind, references.largest_singular_value(matrix) / estimate - 1)
    assert behind > 0.05


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


def test_spectral_norm_gradient_reaches_the_original_weight() -> None:
    critic = spectral()
    scores = critic(torch.randn(4, 1, 16, 16))
    torch.autograd.backward(scores.square().sum())
    for module in weighted(critic):
        weight = original(module)
        assert weight.grad is not None
        assert weight.grad.norm() > 1e-6
        # W/σ(W) does not change when W is scaled, so the gradient is orthogonal to W (float32, cancelling terms).
        cosine = (weight.grad * weight).sum() / (weight.grad.norm() * weight.norm())
        assert abs(cosine.item()) < 1e-4


def test_spectral_norm_gradient_is_the_papers() -> None:
    """Miyato et al. 2018, equation 12: (∂L/∂W̄ − ⟨∂L/∂W̄, W̄⟩ u vᵀ) / σ, u and v counting as constants."""
    torch.manual_seed(0)
    layer = SpectralNorm().wrap(nn.Linear(5, 4))
    assert isinstance(layer, nn.Linear)
    by_effective = torch.randn(4, 5)
    torch.autograd.backward((layer.weight * by_effective).sum())
    layer.eval()
    weight, effective = original(layer), layer.weight.detach()
    u, _, v = torch.linalg.svd(weight.detach())
    sigma = torch.linalg.matrix_norm(weight.detach(), 2)
    expected = (by_effective - (by_effective * effective).sum() * torch.outer(u[:, 0], v[0])) / sigma
    assert weight.grad is not None
    # float32, and vectors that 128 iterations have brought to some 1e-5 of the SVD's
    torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-3)


def test_two_forward_passes_before_one_backward() -> None:
    critic = spectral("dcgan")
    first, second = torch.randn(4, 1, 16, 16), torch.randn(4, 1, 16, 16)
    torch.autograd.backward(
        critic(first).mean() - critic(second).mean()
    )  # raises if the first pass's vectors were overwritten
    assert all(torch.isfinite(original(module)).all() for module in weighted(critic))


def test_only_the_projection_moves_the_vectors() -> None:
    critic = spectral()
    with torch.no_grad():
        for module in weighted(critic):
            original(module).copy_(torch.randn(original(module).shape))
    before = vectors(critic)
    critic(torch.ones(2, 1, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in vectors(critic).items())
    SpectralNorm().project(critic)
    assert not any(torch.equal(value, before[name]) for name, value in vectors(critic).items() if value.numel() > 1)


def test_spectral_norm_state_dict_round_trip() -> None:
    critic, other = spectral(seed=0), spectral(seed=1)
    inputs = torch.randn(4, 1, 16, 16)
    assert not torch.equal(critic(inputs), other(inputs))
    other.load_state_dict(critic.state_dict())
    assert torch.equal(critic(inputs), other(inputs))
    assert critic.state_dict().keys() == other.state_dict().keys()


def test_spectral_norm_stays_in_float32_under_autocast() -> None:
    critic = spectral("dcgan")
    dtypes: list[torch.dtype] = []
    weighted(critic)[0].register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        critic(torch.randn(4, 1, 16, 16))
        assert dtypes == [torch.bfloat16]  # autocast is on, and only the division by σ is left out of it
        assert all(module.weight.dtype == torch.float32 for module in weighted(critic))
    assert_normalized(critic)


def test_spectral_norm_bounds_the_critics_slope() -> None:
    """What the constraint is for: with every layer at 1 and LeakyReLU between, f is 1-Lipschitz (MLP)."""
    critic = spectral().eval()
    norms = gradient_norms(critic, torch.randn(32, 1, 16, 16))
    assert 0 < norms.max().item() < 1.001**3
    assert math.isfinite(norms.sum().item())
