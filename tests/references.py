"""The papers' formulas and networks in plain numpy and torch. Nothing of wgan_cli is imported here.

References are slow, overflow at extreme values and repeat themselves on purpose: each is read beside its source.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float64]
LossFunction = Callable[[Tensor, Tensor], Tensor]


# Losses. r and f are the critic's scores of real and fake images, float64 so that log(sigmoid(x)) keeps enough digits.


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
    return 0.5 * (-_log_d(one - zero.mean()).mean() - _log_1_minus_d(zero - one.mean()).mean())


CRITIC_LOSSES: dict[str, LossFunction] = {
    "wasserstein": lambda r, f: -(r.mean() - f.mean()),
    "hinge": lambda r, f: _hinge(r) + _hinge(-f),
    "minimax": lambda r, f: -(_log_d(r).mean() + _log_1_minus_d(f).mean()),
    "nonsaturating": lambda r, f: -(_log_d(r).mean() + _log_1_minus_d(f).mean()),
    "least_squares": lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * ((f - 0) ** 2).mean(),
    "relativistic": _rsgan,
    "relativistic_average": _rasgan,
}

CRITIC_LOSSES["wasserstein_gp"] = CRITIC_LOSSES["wasserstein"]

GENERATOR_LOSSES: dict[str, LossFunction] = {
    "wasserstein": lambda r, f: -f.mean(),  # noqa: ARG005
    "hinge": lambda r, f: -f.mean(),  # noqa: ARG005
    "minimax": lambda r, f: _log_1_minus_d(f).mean(),  # noqa: ARG005
    "nonsaturating": lambda r, f: -_log_d(f).mean(),  # noqa: ARG005
    "least_squares": lambda r, f: 0.5 * ((f - 1) ** 2).mean(),  # noqa: ARG005
    "relativistic": lambda r, f: _rsgan(f, r),
    "relativistic_average": lambda r, f: _rasgan(f, r),
}
GENERATOR_LOSSES["wasserstein_gp"] = GENERATOR_LOSSES["wasserstein"]


# Gradient penalties. The gradients come from a critic whose gradient is known in closed form, one row a sample.


def between(real: Array, fake: Array, epsilon: Array) -> Array:
    """Gulrajani et al. 2017, Algorithm 1, line 6; epsilon has one number for each sample."""
    return np.stack([e * r + (1 - e) * f for e, r, f in zip(epsilon, real, fake, strict=True)])


def sample_norms(gradients: Array) -> Array:
    return np.array([np.sqrt(np.sum(gradient**2)) for gradient in gradients])


def gradient_penalty(gradients: Array, weight: float) -> float:
    """Gulrajani et al. 2017, equation 3, second term."""
    return float(weight * np.mean((sample_norms(gradients) - 1) ** 2))


def lipschitz_penalty(gradients: Array, weight: float) -> float:
    """Petzka et al. 2018, equation 8."""
    return float(weight * np.mean(np.maximum(0, sample_norms(gradients) - 1) ** 2))


def penalty_between(critic: nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """Return the penalty of the gradients that torch finds, with weight 10. Epsilon is given, one for each sample."""
    points = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (gradients,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    penalty: Tensor = 10 * ((gradients.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
    return penalty


def largest_singular_value(weight: npt.ArrayLike) -> float:
    """Return σ of a weight as the matrix (out, everything else): Miyato et al. 2018, section 2.1 and appendix."""
    matrix = np.asarray(weight, dtype=np.float64)
    return float(np.linalg.svd(matrix.reshape(len(matrix), -1), compute_uv=False)[0])


# Updates of weights.


class Training:
    """Arjovsky et al. 2017, Algorithm 1, restated. Batches and random numbers are those of the run's algorithm."""

    def __init__(
        self, generator: nn.Module, critic: nn.Module, algorithm: Any, latent_dim: int, loss: str, constraint: str
    ) -> None:
        self.generator, self.critic, self.algorithm, self.latent_dim = generator, critic, algorithm, latent_dim
        self.loss, self.constraint, self.clip_value = loss, constraint, 0.01

    def descend(self, network: nn.Module, objective: Tensor, step: int) -> None:
        raise NotImplementedError

    def scores(self, samples: Tensor) -> Tensor:
        """Score with weights divided by their largest singular values, if that is the constraint."""
        weights: dict[str, Tensor] = dict(self.critic.named_parameters())
        for name, weight in weights.items():
            if self.constraint == "spectral_norm" and weight.dim() > 1:
                weights[name] = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
        scores: Tensor = torch.func.functional_call(self.critic, weights, (samples,))
        return scores.double()

    def generate(self, player: str, position: int, count: int) -> Tensor:
        self.algorithm.streams.seed_global(f"{player} dropout", position)
        stream = self.algorithm.streams.at(f"{player} latents", position)
        samples: Tensor = self.generator(torch.randn(count, self.latent_dim, generator=stream))
        return samples

    def update_critic(self, position: int, step: int) -> dict[str, float]:
        real = self.algorithm.batches[position].samples
        fake = self.generate("critic", position, len(real)).detach()
        real_scores, fake_scores = self.scores(real), self.scores(fake)
        loss = CRITIC_LOSSES[self.loss](real_scores, fake_scores)
        penalty = torch.zeros(())
        if self.constraint == "gradient_penalty":
            epsilon = torch.rand(len(real), 1, 1, 1, generator=self.algorithm.streams.at("penalty epsilon", position))
            penalty = penalty_between(self.critic, real, fake, epsilon)
        self.descend(self.critic, loss + penalty, step)
        if self.constraint == "clip":
            for parameter in self.critic.parameters():
                parameter.data.clamp_(-self.clip_value, self.clip_value)
        gap = real_scores.mean() - fake_scores.mean()
        return {"critic_loss": loss.item(), "penalty": penalty.item(), "wasserstein_estimate": gap.item()}

    def update_generator(self, step: int) -> dict[str, float]:
        fake = self.generate("generator", step, self.algorithm.generator_batch_size)
        needs_real = self.loss.startswith("relativistic")
        real_scores = self.scores(self.algorithm.generator_batches[step].samples) if needs_real else torch.zeros(0)
        loss = GENERATOR_LOSSES[self.loss](real_scores, self.scores(fake))
        self.descend(self.generator, loss, step)
        return {"generator_loss": loss.item()}


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
    """Return the average after a step to each of weights[1:]. It starts at weights[0]."""
    average = weights[0]
    for step, weight in enumerate(weights[1:]):
        decay = min(0.999, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    return average


# Networks, layer by layer, as their authors' code has them.

_up = partial(nn.ConvTranspose2d, bias=False)
_down = partial(nn.Conv2d, bias=False)


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
    """Copy the source's parameters and buffers to the target, in order, ignoring their names."""
    values: list[Any] = list(source.state_dict().values())
    target.load_state_dict(OrderedDict(zip(target.state_dict(), values, strict=True)))


def layers(network: nn.Module) -> list[nn.Module]:
    """List a network's torch layers in order, without their groups and without a final Tanh, which may be a call."""
    torchs = [module for module in network.modules() if type(module).__module__.startswith("torch.")]
    found = [module for module in torchs if not isinstance(module, nn.Sequential) and not any(module.children())]
    return found[:-1] if isinstance(found[-1], nn.Tanh) else found


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Networks of 2017 and later. Their parameters have the order of ours, for copy_in_order. What their authors compute in
# place is not in place here.


def pytorch_gan_upsample_generator() -> nn.Sequential:
    """eriklindernoren/PyTorch-GAN implementations/relativistic_gan, img_size 32: BatchNorm2d(n, 0.8) is an eps."""
    return nn.Sequential(
        nn.Linear(100, 128 * 8**2), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128),
        nn.Upsample(scale_factor=2), nn.Conv2d(128, 128, 3, 1, 1), nn.BatchNorm2d(128, 0.8), nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, 1, 1), nn.BatchNorm2d(64, 0.8), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 1, 3, 1, 1), nn.Tanh(),
    )  # fmt: skip


def pytorch_gan_dropout_critic() -> nn.Sequential:
    """eriklindernoren/PyTorch-GAN implementations/relativistic_gan, img_size 32."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25),
        nn.Conv2d(16, 32, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25), nn.BatchNorm2d(32, 0.8),
        nn.Conv2d(32, 64, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25), nn.BatchNorm2d(64, 0.8),
        nn.Conv2d(64, 128, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25), nn.BatchNorm2d(128, 0.8),
        nn.Flatten(1), nn.Linear(128 * 2**2, 1), nn.Flatten(0),
    )  # fmt: skip


class _Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


class _Conv2D(nn.Module):
    """igul222/improved_wgan_training tflib/ops/conv2d.py, which is tf.nn.conv2d with padding SAME.

    TensorFlow's documentation of SAME: ⌈size / stride⌉ outputs, and as many zeros as they need, half of them on each
    side. If their number is odd, the extra zero comes after.
    """

    def __init__(self, inputs: int, outputs: int, filter_size: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, filter_size, filter_size) / 10)
        self.bias = nn.Parameter(torch.randn(outputs) / 10)
        self.filter_size, self.stride = filter_size, stride

    def forward(self, inputs: Tensor, with_bias: bool = True) -> Tensor:
        size = inputs.shape[2]
        zeros = max((-(-size // self.stride) - 1) * self.stride + self.filter_size - size, 0)
        sides = (zeros // 2, zeros - zeros // 2)
        padded = nn.functional.pad(inputs, sides + sides)
        return nn.functional.conv2d(padded, self.weight, self.bias if with_bias else None, self.stride)


class _Deconv2D(nn.Module):
    """tflib/ops/deconv2d.py: tf.nn.conv2d_transpose is the gradient of a conv2d, here with stride 2, by its input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs, 5, 5) / 10)
        self.bias = nn.Parameter(torch.randn(outputs) / 10)

    def forward(self, inputs: Tensor) -> Tensor:
        halve = _Conv2D(self.weight.shape[1], self.weight.shape[0], 5, 2)
        halve.weight = self.weight
        size = 2 * inputs.shape[2]
        larger = torch.zeros(len(inputs), self.weight.shape[1], size, size, requires_grad=True)
        (outputs,) = torch.autograd.grad(halve(larger, with_bias=False), larger, inputs, create_graph=True)
        return outputs + self.bias[:, None, None]


def wgan_gp_mnist_generator() -> nn.Sequential:
    """igul222/improved_wgan_training gan_mnist.py, MODE wgan-gp, with tanh in place of the final sigmoid."""
    return nn.Sequential(
        nn.Linear(128, 4 * 4 * 4 * 64), nn.ReLU(), nn.Unflatten(1, (4 * 64, 4, 4)),
        _Deconv2D(4 * 64, 2 * 64), nn.ReLU(),
        _Call(lambda outputs: outputs[:, :, :7, :7]),
        _Deconv2D(2 * 64, 64), nn.ReLU(),
        _Deconv2D(64, 1), nn.Tanh(),
    )  # fmt: skip


def wgan_gp_cifar_generator() -> nn.Sequential:
    """igul222/improved_wgan_training gan_cifar.py, with 32 instead of 128 filters (DIM)."""
    return nn.Sequential(
        nn.Linear(128, 4 * 4 * 4 * 32), nn.BatchNorm1d(4 * 4 * 4 * 32), nn.ReLU(), nn.Unflatten(1, (4 * 32, 4, 4)),
        _Deconv2D(4 * 32, 2 * 32), nn.BatchNorm2d(2 * 32), nn.ReLU(),
        _Deconv2D(2 * 32, 32), nn.BatchNorm2d(32), nn.ReLU(),
        _Deconv2D(32, 3), nn.Tanh(),
    )  # fmt: skip


def wgan_gp_critic(channels: int, width: int) -> nn.Sequential:
    """igul222/improved_wgan_training gan_mnist.py and gan_cifar.py, MODE wgan-gp."""
    return nn.Sequential(
        _Conv2D(channels, width, 5, 2), nn.LeakyReLU(0.2),
        _Conv2D(width, 2 * width, 5, 2), nn.LeakyReLU(0.2),
        _Conv2D(2 * width, 4 * width, 5, 2), nn.LeakyReLU(0.2),
        nn.Flatten(1), nn.Linear(4 * 4 * 4 * width, 1), nn.Flatten(0),
    )  # fmt: skip


def depth_to_space(inputs: Tensor) -> Tensor:
    """tf.depth_to_space with blocks of 2×2: (batch, height, width, 4 · c) → (batch, 2 · height, 2 · width, c)."""
    batch, height, width, depth = inputs.shape
    outputs = torch.empty(batch, 2 * height, 2 * width, depth // 4)
    for block, values in enumerate(inputs.chunk(4, dim=3)):
        outputs[:, block // 2 :: 2, block % 2 :: 2] = values
    return outputs


def wgan_gp_upsample(inputs: Tensor) -> Tensor:
    """gan_cifar_resnet.py, UpsampleConv without its convolution."""
    output = torch.cat([inputs, inputs, inputs, inputs], 1)
    return depth_to_space(output.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def wgan_gp_mean_pool(output: Tensor) -> Tensor:
    """gan_cifar_resnet.py, ConvMeanPool without its convolution."""
    return (output[:, :, ::2, ::2] + output[:, :, 1::2, ::2] + output[:, :, ::2, 1::2] + output[:, :, 1::2, 1::2]) / 4


class _ResidualBlock(nn.Module):
    """gan_cifar_resnet.py, ResidualBlock with as many outputs as inputs."""

    def __init__(self, width: int, resample: str | None, batch_norm: bool) -> None:
        super().__init__()
        self.resample = resample
        self.n1 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.conv1 = _Conv2D(width, width, 3, 1)
        self.n2 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.conv2 = _Conv2D(width, width, 3, 1)
        self.shortcut = nn.Identity() if resample is None else _Conv2D(width, width, 1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        upsample = wgan_gp_upsample if self.resample == "up" else nn.Identity()
        pool = wgan_gp_mean_pool if self.resample == "down" else nn.Identity()
        output = self.conv1(upsample(torch.relu(self.n1(inputs))))
        output = self.conv2(torch.relu(self.n2(output)))
        result: Tensor = pool(self.shortcut(upsample(inputs))) + pool(output)
        return result


class _OptimizedResBlockDisc1(nn.Module):
    """gan_cifar_resnet.py: the critic's first block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _Conv2D(3, width, 3, 1)
        self.conv2 = _Conv2D(width, width, 3, 1)
        self.shortcut = _Conv2D(3, width, 1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(wgan_gp_mean_pool(inputs))
        return shortcut + wgan_gp_mean_pool(self.conv2(torch.relu(self.conv1(inputs))))


def wgan_gp_resnet_generator(width: int = 128) -> nn.Sequential:
    """igul222/improved_wgan_training gan_cifar_resnet.py, CONDITIONAL False; the same as Miyato et al.'s."""
    return nn.Sequential(
        nn.Linear(128, 4 * 4 * width), nn.Unflatten(1, (width, 4, 4)),
        _ResidualBlock(width, "up", batch_norm=True),
        _ResidualBlock(width, "up", batch_norm=True),
        _ResidualBlock(width, "up", batch_norm=True),
        nn.BatchNorm2d(width), nn.ReLU(), _Conv2D(width, 3, 3, 1), nn.Tanh(),
    )  # fmt: skip


def wgan_gp_resnet_critic(width: int = 128, pooling: str = "mean") -> nn.Sequential:
    """The same, CONDITIONAL False; with ``sum`` Miyato et al.'s dis_models/snresnet_32.py, but with a bias."""
    return nn.Sequential(
        _OptimizedResBlockDisc1(width),
        _ResidualBlock(width, "down", batch_norm=False),
        _ResidualBlock(width, None, batch_norm=False),
        _ResidualBlock(width, None, batch_norm=False),
        nn.ReLU(),
        _Call(lambda output: output.sum(3).sum(2) / (64 if pooling == "mean" else 1)),
        nn.Linear(width, 1), nn.Flatten(0),
    )  # fmt: skip


def conv2d_std(inputs: int, outputs: int, filter_size: int, stride: int, he_init: bool = True) -> float:
    """tflib/ops/conv2d.py: the standard deviation of the initial filters, which are uniform."""
    fans = inputs * filter_size**2 + outputs * filter_size**2 / stride**2
    return float(np.sqrt((4 if he_init else 2) / fans))


def deconv2d_std(inputs: int, outputs: int) -> float:
    """tflib/ops/deconv2d.py, 5×5 filters."""
    return float(np.sqrt(4 / (inputs * 5**2 / 2**2 + outputs * 5**2)))


def linear_std(inputs: int, outputs: int) -> float:
    """tflib/ops/linear.py, initialization None."""
    return float(np.sqrt(2 / (inputs + outputs)))


def check_uniform(modules: list[nn.Module], stds: list[float]) -> None:
    """Check that weights of linear layers and convolutions are uniform with these deviations, and biases are 0."""
    weighted = [module for module in modules if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    for layer, std in zip(weighted, stds, strict=True):
        weight = layer.weight.detach()
        # The relative error of the deviation of n uniform draws is 0.45/√n, that of the mean 1/√n. Five times that.
        assert abs(weight.std().item() / std - 1) < 2.25 / weight.numel() ** 0.5
        assert abs(weight.mean().item() / std) < 5 / weight.numel() ** 0.5
        assert weight.abs().max() < 1.00001 * 3**0.5 * std  # the end of the uniform distribution
        assert layer.bias is None or (layer.bias == 0).all()
