import numpy as np
import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.networks.mlp import MLPGenerator
from wgan_cli.players import Generator
from wgan_cli.training.ema import ema_of, update_ema


class OneWeight(Generator):
    """The least that has an average."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


def network() -> Generator:
    return MLPGenerator(8, 1, latent_dim=3, hidden_sizes=(4, 4), normalization="batch")


def perturb(target: nn.Module) -> None:
    """Something like a training step: every parameter and, by a forward pass, every buffer changes."""
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.add_(torch.randn(parameter.shape))
        target(torch.randn(8, 3))


def flat(source: nn.Module) -> references.Array:
    return torch.cat([parameter.detach().flatten() for parameter in source.parameters()]).double().numpy()


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_average_follows_the_recursion(steps: int) -> None:
    generator = network()
    average, history = ema_of(generator), [flat(generator)]
    for step in range(steps):
        perturb(generator)
        update_ema(average, generator, step)
        history.append(flat(generator))
    # float32 against float64 over 30 additions of numbers up to 10.
    np.testing.assert_allclose(flat(average), references.moving_average(history), rtol=1e-5, atol=1e-5)
    assert np.abs(flat(average) - flat(generator)).max() > 0.1  # and it is an average, not a copy


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (1, 2 / 11), (90, 0.91), (8989, 8990 / 8999), (10**6, 0.999)])
def test_decay(step: int, decay: float) -> None:
    """From 0.1, which soon forgets the noise of the first weights, up to 0.999 and no further."""
    generator = OneWeight()
    average = ema_of(generator)
    average.get_parameter("weight").zero_()
    update_ema(average, generator, step)
    assert average.get_parameter("weight").item() == pytest.approx(1 - min(decay, 0.999), rel=1e-5)  # float32


def test_buffers_are_copied_and_stay_separate() -> None:
    generator = network()
    average = ema_of(generator)
    perturb(generator)
    update_ema(average, generator, 500)
    buffers = dict(generator.named_buffers())
    assert sum(name.endswith("num_batches_tracked") and int(buffer) == 1 for name, buffer in buffers.items()) == 1
    for name, buffer in average.named_buffers():
        assert torch.equal(buffer, buffers[name])
    perturb(generator)
    for name, buffer in average.named_buffers():
        assert not torch.equal(buffer, generator.get_buffer(name))


def test_average_is_a_copy_in_eval_mode_without_gradients() -> None:
    generator = network()
    average = ema_of(generator)
    assert np.array_equal(flat(average), flat(generator))
    assert generator.training
    assert all(parameter.requires_grad for parameter in generator.parameters())
    for step in range(3):
        torch.autograd.backward(generator(torch.randn(4, 3)).sum())
        perturb(generator)
        update_ema(average, generator, step)
        assert not any(module.training for module in average.modules())
        for parameter in average.parameters():
            assert not parameter.requires_grad
            assert parameter.grad is None
            assert parameter.grad_fn is None


def test_updating_leaves_the_generator_alone() -> None:
    generator = network()
    average = ema_of(generator)
    perturb(generator)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    update_ema(average, generator, 3)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])
