import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from tests import references
from tests.builders import bits
from wgan_cli.networks.mlp import MLPGenerator
from wgan_cli.networks.players import Generator
from wgan_cli.training.ema import copy_for_average, update_ema


def make_generator() -> Generator:
    return MLPGenerator((1, 8, 8), latent_dim=3, hidden_sizes=(4, 4), normalization="batch")


def perturb(generator: Generator) -> None:
    """Change every parameter and, by a forward pass, every buffer, as a training step does."""
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn(parameter.shape))
        generator(torch.randn(8, 3))


def flatten(network: nn.Module) -> references.Array:
    return parameters_to_vector(network.parameters()).detach().double().numpy()


def test_the_average_follows_the_recursion() -> None:
    generator = make_generator()
    average, history = copy_for_average(generator), [flatten(generator)]
    for step in range(30):
        perturb(generator)
        update_ema(average, generator, step, 0.999)
        history.append(flatten(generator))
        # float32 against float64 over up to 30 additions of numbers up to 10.
        np.testing.assert_allclose(flatten(average), references.moving_average(history), rtol=1e-5, atol=1e-5)
        assert np.abs(flatten(average) - flatten(generator)).max() > 0.1  # it is an average, not a copy


@pytest.mark.parametrize(
    ("step", "limit", "decay"),
    [(0, 0.999, 0.1), (1, 0.999, 2 / 11), (90, 0.999, 0.91), (10**6, 0.999, 0.999), (90, 0.9, 0.9), (90, 0.0, 0.0)],
)
def test_the_decay_rises_to_its_limit(step: int, limit: float, decay: float) -> None:
    """At first the average soon forgets the initial weights. At the limit it spans about 1 / (1 − limit) steps."""
    generator = Generator()
    generator.weight = nn.Parameter(torch.ones(()))
    average = copy_for_average(generator)
    average.get_parameter("weight").zero_()
    update_ema(average, generator, step, limit)
    assert average.get_parameter("weight").item() == pytest.approx(1 - decay, rel=1e-5)  # float32


def test_buffers_are_copied_and_stay_separate() -> None:
    generator = make_generator()
    average = copy_for_average(generator)
    perturb(generator)
    update_ema(average, generator, 500, 0.999)
    copied, originals = dict(average.named_buffers()), dict(generator.named_buffers())
    assert int(copied["layers.hidden2.norm.num_batches_tracked"]) == 1
    assert bits(copied) == bits(originals)
    perturb(generator)
    assert not any(torch.equal(copied[name], buffer) for name, buffer in originals.items())


def test_the_average_is_a_copy_in_eval_mode_without_gradients() -> None:
    generator = make_generator()
    average = copy_for_average(generator)
    assert bits(average) == bits(generator)
    for step in range(3):
        torch.autograd.backward(generator(torch.randn(4, 3)).sum())
        perturb(generator)
        before = bits(generator)
        update_ema(average, generator, step, 0.999)
        assert bits(generator) == before
        assert generator.training
        assert all(parameter.requires_grad for parameter in generator.parameters())
        assert not any(module.training for module in average.modules())
        for parameter in average.parameters():
            assert not parameter.requires_grad
            assert parameter.grad is None
            assert parameter.grad_fn is None
