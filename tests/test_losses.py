from collections.abc import Callable
from math import exp, log

import pytest
import torch
from torch import Tensor

from tests import references
from wgan_cli.losses import LOSSES, Loss, wasserstein_estimate

NAMES = sorted(LOSSES)


def player(name: str, which: str) -> Callable[[Tensor, Tensor], Tensor]:
    loss: Loss = LOSSES[name]()
    return loss.critic if which == "critic" else loss.generator


def value_and_gradients(
    function: Callable[[Tensor, Tensor], Tensor], real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss and its gradients by real and fake scores; a gradient is 0 if the loss ignores the scores."""
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    value = function(real, fake)
    by_real, by_fake = torch.autograd.grad(value, (real, fake), allow_unused=True, materialize_grads=True)
    return value.detach(), by_real, by_fake


@pytest.mark.parametrize("which", ["critic", "generator"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradients_are_the_papers(name: str, which: str, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    real = 3 * torch.randn(8, generator=random, dtype=torch.float64) + 1
    fake = 3 * torch.randn(8, generator=random, dtype=torch.float64) - 1
    reference = (references.CRITIC_LOSSES if which == "critic" else references.GENERATOR_LOSSES)[name]
    ours, theirs = (value_and_gradients(each, real, fake) for each in (player(name, which), reference))
    # float64 on both sides; log(1 − sigmoid(x)) of the reference loses up to 6 of 16 digits for scores below 15.
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


SP = {x: log(1 + exp(x)) for x in (-4, -3, -2, -1, 0, 1, 2, 3, 4)}  # softplus
R, F = [2.0, 0.0], [-1.0, 1.0]  # mean 1 and 0; R − F = 3, −1
BY_HAND = [
    ("wasserstein", 0 - 1, -0.0),
    ("wasserstein_gp", 0 - 1, -0.0),
    ("hinge", (0 + 1) / 2 + (0 + 2) / 2, 0.0),
    ("minimax", (SP[-2] + SP[0]) / 2 + (SP[-1] + SP[1]) / 2, -(SP[-1] + SP[1]) / 2),
    ("nonsaturating", (SP[-2] + SP[0]) / 2 + (SP[-1] + SP[1]) / 2, (SP[1] + SP[-1]) / 2),
    ("least_squares", ((1 + 1) / 2 + (1 + 1) / 2) / 2, ((4 + 0) / 2) / 2),
    ("relativistic", (SP[-3] + SP[1]) / 2, (SP[3] + SP[-1]) / 2),
    (
        "relativistic_average",  # r − 0 = 2, 0 towards one; f − 1 = −2, 0 towards zero
        ((SP[-2] + SP[0]) / 2 + (SP[-2] + SP[0]) / 2) / 2,
        ((SP[2] + SP[0]) / 2 + (SP[2] + SP[0]) / 2) / 2,
    ),
]


@pytest.mark.parametrize(("name", "critic", "generator"), BY_HAND, ids=[name for name, *_ in BY_HAND])
def test_hand_computed(name: str, critic: float, generator: float) -> None:
    loss, real, fake = LOSSES[name](), torch.tensor(R), torch.tensor(F)
    assert loss.critic(real, fake).item() == pytest.approx(critic, rel=1e-6, abs=1e-7)  # float32
    assert loss.generator(real, fake).item() == pytest.approx(generator, rel=1e-6, abs=1e-7)


def test_every_loss_has_a_hand_computed_row() -> None:
    assert set(LOSSES) == {name for name, *_ in BY_HAND}


def test_wasserstein_estimate_is_real_minus_fake() -> None:
    """Arjovsky et al. 2017, equation 3: E f(real) − E f(fake)."""
    assert wasserstein_estimate(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0, 3.0])).item() == 2.0


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("which", ["critic", "generator"])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_scores_stay_finite(name: str, which: str, signs: tuple[int, int]) -> None:
    real, fake = torch.full((4,), signs[0] * 1e4), torch.full((4,), signs[1] * 1e4)
    for tensor in value_and_gradients(player(name, which), real, fake):
        assert torch.isfinite(tensor).all()  # exp(1e4) overflows even float64


@pytest.mark.parametrize(
    ("name", "wanted"), [("nonsaturating", -1.0), ("minimax", 0.0), ("relativistic", -1.0), ("hinge", -1.0)]
)
def test_generator_gradient_when_the_critic_is_certain(name: str, wanted: float) -> None:
    """Minimax saturates and nonsaturating does not; the relativistic loss does not either."""
    real, fake = torch.full((1,), 50.0), torch.full((1,), -50.0)
    assert value_and_gradients(player(name, "generator"), real, fake)[2].item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_only_relativistic_generators_need_real_scores(name: str) -> None:
    loss, fake = LOSSES[name](), torch.tensor([0.5, -1.0])
    assert loss.generator_needs_real == name.startswith("relativistic")
    if not loss.generator_needs_real:
        without = loss.generator(torch.empty(0), fake)
        assert torch.isfinite(without)
        assert without == loss.generator(torch.tensor([9.0, 9.0]), fake)
