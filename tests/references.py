"""What the papers say, restated in the plainest numpy and torch that says it. Nothing of wgan_cli is imported here.

Slow, unsafe at extreme values and full of repetition on purpose: a reference is read beside its source.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float64]
LossFunction = Callable[[Tensor, Tensor], Tensor]


# Losses. r and f are the critic's scores of real and fake images, float64 so that log(sigmoid(x)) has digits to spare.


def _log_d(scores: Tensor) -> Tensor:
    """log D where D = sigmoid(score) is the probability of being real (Goodfellow et al. 2014)."""
    return torch.log(1 / (1 + torch.exp(-scores)))


def _log_1_minus_d(scores: Tensor) -> Tensor:
    return torch.log(1 - 1 / (1 + torch.exp(-scores)))


def _hinge(margins: Tensor) -> Tensor:
    return -torch.minimum(torch.zeros_like(margins), -1 + margins).mean()


def _rsgan(winner: Tensor, loser: Tensor) -> Tensor:
    """Jolicoeur-Martineau 2018, equations 5 and 6: −E[log sigmoid(C(winner) − C(loser))]."""
    return -_log_d(winner - loser).mean()


def _rasgan(one: Tensor, zero: Tensor) -> Tensor:
    """Jolicoeur-Martineau 2018, equations 7 to 10: D̃(x) = sigmoid(C(x) − E C(other kind)); halved, as PyTorch-GAN."""
    sum_of_both = -_log_d(one - zero.mean()).mean() - _log_1_minus_d(zero - one.mean()).mean()
    return 0.5 * sum_of_both


CRITIC_LOSSES: dict[str, LossFunction] = {
    "wasserstein": lambda r, f: -(r.mean() - f.mean()),
    "hinge": lambda r, f: _hinge(r) + _hinge(-f),
    "minimax": lambda r, f: -(_log_d(r).mean() + _log_1_minus_d(f).mean()),
    "nonsaturating": lambda r, f: -(_log_d(r).mean() + _log_1_minus_d(f).mean()),
    "least_squares": lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * ((f - 0) ** 2).mean(),
    "relativistic": lambda r, f: _rsgan(r, f),
    "relativistic_average": lambda r, f: _rasgan(r, f),
}

GENERATOR_LOSSES: dict[str, LossFunction] = {
    "wasserstein": lambda r, f: -f.mean(),  # noqa: ARG005
    "hinge": lambda r, f: -f.mean(),  # noqa: ARG005
    "minimax": lambda r, f: _log_1_minus_d(f).mean(),  # noqa: ARG005
    "nonsaturating": lambda r, f: -_log_d(f).mean(),  # noqa: ARG005
    "least_squares": lambda r, f: 0.5 * ((f - 1) ** 2).mean(),  # noqa: ARG005
    "relativistic": lambda r, f: _rsgan(f, r),
    "relativistic_average": lambda r, f: _rasgan(f, r),
}


def wasserstein_estimate(real_scores: Array, fake_scores: Array) -> float:
    """Arjovsky et al. 2017, equation 3: E f(real) − E f(fake)."""
    return float(np.mean(real_scores) - np.mean(fake_scores))


# Gradient penalties. The gradients come from a critic whose gradient is known in closed form, one row a sample.


def between(real: Array, fake: Array, epsilon: Array) -> Array:
    """Gulrajani et al. 2017, Algorithm 1, line 6; epsilon has one number for each sample."""
    return np.stack([e * r + (1 - e) * f for e, r, f in zip(epsilon, real, fake, strict=True)])


def sample_norms(gradients: Array) -> Array:
    """‖∇f(x)‖₂ of each sample, over everything that it consists of."""
    return np.array([np.sqrt(np.sum(gradient**2)) for gradient in gradients])


def gradient_penalty(gradients: Array, weight: float) -> float:
    """Gulrajani et al. 2017, equation 3, second term."""
    return float(weight * np.mean((sample_norms(gradients) - 1) ** 2))


def lipschitz_penalty(gradients: Array, weight: float) -> float:
    """Petzka et al. 2018, equation 8."""
    return float(weight * np.mean(np.maximum(0, sample_norms(gradients) - 1) ** 2))


def largest_singular_value(weight: npt.ArrayLike) -> float:
    """Of a layer's weight as the matrix (out, everything else): Miyato et al. 2018, section 2.1 and appendix."""
    matrix = np.asarray(weight, dtype=np.float64)
    return float(np.linalg.svd(matrix.reshape(len(matrix), -1), compute_uv=False)[0])


# Updates of weights.


class RMSprop:
    """Tieleman and Hinton 2012, lecture 6.5."""

    def __init__(self, learning_rate: float, alpha: float = 0.99, eps: float = 1e-8) -> None:
        self.learning_rate, self.alpha, self.eps = learning_rate, alpha, eps
        self.mean_square: Array | float = 0.0

    def step(self, weight: Array, gradient: Array) -> Array:
        self.mean_square = self.alpha * self.mean_square + (1 - self.alpha) * gradient**2
        return weight - self.learning_rate * gradient / (np.sqrt(self.mean_square) + self.eps)


class Adam:
    """Kingma and Ba 2015, Algorithm 1."""

    def __init__(self, learning_rate: float, betas: tuple[float, float] = (0.5, 0.999), eps: float = 1e-8) -> None:
        self.learning_rate, self.betas, self.eps = learning_rate, betas, eps
        self.t = 0
        self.m: Array | float = 0.0
        self.v: Array | float = 0.0

    def step(self, weight: Array, gradient: Array) -> Array:
        self.t += 1
        self.m = self.betas[0] * self.m + (1 - self.betas[0]) * gradient
        self.v = self.betas[1] * self.v + (1 - self.betas[1]) * gradient**2
        m_hat = self.m / (1 - self.betas[0] ** self.t)
        v_hat = self.v / (1 - self.betas[1] ** self.t)
        return weight - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)


def moving_average(weights: list[Array]) -> Array:
    """The average after each of weights[1:] was reached by one step, beginning at weights[0]."""
    average = weights[0]
    for step, weight in enumerate(weights[1:]):
        decay = min(0.999, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    return average


# Networks, layer by layer, as their authors' code has them.


def _up(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=False)


def _down(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)


def labml_generator() -> nn.Sequential:
    """labml_nn/gan/dcgan: 100×1×1 → 3 → 7 → 14 → 28 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)),
        _up(100, 1024, 3, 1, 0), nn.BatchNorm2d(1024), nn.ReLU(),
        _up(1024, 512, 3, 2, 0), nn.BatchNorm2d(512), nn.ReLU(),
        _up(512, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.ReLU(),
        _up(256, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def labml_critic() -> nn.Sequential:
    """labml_nn/gan/dcgan: 28 → 14 → 7 → 3 pixels → one logit."""
    return nn.Sequential(
        _down(1, 256, 4, 2, 1), nn.LeakyReLU(0.2),
        _down(256, 512, 4, 2, 1), nn.BatchNorm2d(512), nn.LeakyReLU(0.2),
        _down(512, 1024, 3, 2, 0), nn.BatchNorm2d(1024), nn.LeakyReLU(0.2),
        _down(1024, 1, 3, 1, 0), nn.Flatten(0),
    )  # fmt: skip


def wgan_generator() -> nn.Sequential:
    """martinarjovsky/WassersteinGAN models/dcgan.py, DCGAN_G, imageSize 64, nz 100, nc 3, ngf 64."""
    return nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)),
        _up(100, 512, 4, 1, 0), nn.BatchNorm2d(512), nn.ReLU(),
        _up(512, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.ReLU(),
        _up(256, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(),
        _up(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
        _up(64, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def wgan_critic() -> nn.Sequential:
    """martinarjovsky/WassersteinGAN models/dcgan.py, DCGAN_D, without its mean over the batch."""
    return nn.Sequential(
        _down(3, 64, 4, 2, 1), nn.LeakyReLU(0.2),
        _down(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        _down(128, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),
        _down(256, 512, 4, 2, 1), nn.BatchNorm2d(512), nn.LeakyReLU(0.2),
        _down(512, 1, 4, 1, 0), nn.Flatten(0),
    )  # fmt: skip


def labml_mlp_generator() -> nn.Sequential:
    """labml_nn/gan/original, which is also the shape of our default MLP."""
    return nn.Sequential(
        nn.Linear(100, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 512), nn.LeakyReLU(0.2),
        nn.Linear(512, 1024), nn.LeakyReLU(0.2),
        nn.Linear(1024, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )  # fmt: skip


def labml_mlp_critic() -> nn.Sequential:
    """labml_nn/gan/original."""
    return nn.Sequential(
        nn.Flatten(1),
        nn.Linear(784, 1024), nn.LeakyReLU(0.2),
        nn.Linear(1024, 512), nn.LeakyReLU(0.2),
        nn.Linear(512, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 1), nn.Flatten(0),
    )  # fmt: skip


def pytorch_gan_generator() -> nn.Sequential:
    """eriklindernoren/PyTorch-GAN implementations/wgan: BatchNorm1d(n, 0.8) is an eps of 0.8."""
    return nn.Sequential(
        nn.Linear(100, 128), nn.LeakyReLU(0.2),
        nn.Linear(128, 256), nn.BatchNorm1d(256, 0.8), nn.LeakyReLU(0.2),
        nn.Linear(256, 512), nn.BatchNorm1d(512, 0.8), nn.LeakyReLU(0.2),
        nn.Linear(512, 1024), nn.BatchNorm1d(1024, 0.8), nn.LeakyReLU(0.2),
        nn.Linear(1024, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )  # fmt: skip


def pytorch_gan_critic() -> nn.Sequential:
    """eriklindernoren/PyTorch-GAN implementations/wgan."""
    return nn.Sequential(
        nn.Flatten(1),
        nn.Linear(784, 512), nn.LeakyReLU(0.2),
        nn.Linear(512, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 1), nn.Flatten(0),
    )  # fmt: skip


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Give the target the source's parameters and buffers, first to first, whatever they are called."""
    values: list[Any] = list(source.state_dict().values())
    target.load_state_dict(OrderedDict(zip(target.state_dict(), values, strict=True)))


def layers(network: nn.Module) -> list[nn.Module]:
    """The layers of torch that a network has, in order, however grouped; a last Tanh, which may be a call, left out."""
    found = [m for m in network.modules() if type(m).__module__.startswith("torch.") and not any(m.children())]
    return found[:-1] if isinstance(found[-1], nn.Tanh) else found


def parameter_count(network: nn.Module) -> int:
    """How many numbers an optimizer would change."""
    return sum(parameter.numel() for parameter in network.parameters())
