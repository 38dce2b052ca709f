from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.networks.mlp import ACTIVATIONS, MLPCritic, MLPGenerator


@pytest.mark.parametrize("shape", [(2,), (7, 3), (3, 8, 8), (2, 3, 4, 5)])
def test_samples_have_any_shape(shape: tuple[int, ...]) -> None:
    samples = MLPGenerator(shape, latent_dim=3, hidden_sizes=(4,))(torch.randn(5, 3))
    assert samples.shape == (5, *shape)
    assert MLPCritic(shape, hidden_sizes=(4,))(samples).shape == (5,)


def test_images_are_laid_out_channel_by_channel() -> None:
    generator = MLPGenerator((3, 8, 8), latent_dim=2, hidden_sizes=())
    images = generator(torch.ones(1, 2))
    (linear,) = references.layers(generator)
    flat = torch.tanh(linear(torch.ones(1, 2)))
    assert torch.equal(images[0, 2], flat[0, 2 * 64 :].view(8, 8))


def test_without_hidden_layers_they_are_linear() -> None:
    assert references.parameter_count(MLPCritic((1, 8, 8), hidden_sizes=())) == 64 + 1
    assert references.parameter_count(MLPGenerator((1, 8, 8), latent_dim=5, hidden_sizes=())) == 64 * 5 + 64


@pytest.mark.parametrize(("name", "module"), [("leaky_relu", nn.LeakyReLU), ("relu", nn.ReLU), ("tanh", nn.Tanh)])
def test_activation_is_honoured(name: Any, module: type[nn.Module]) -> None:
    for network in (MLPGenerator((2,), activation=name, normalization="none"), MLPCritic((2,), activation=name)):
        layers = [type(layer) for layer in references.layers(network)]
        assert layers[1::2] == [module] * (len(layers) // 2)
        assert layers[::2] == [nn.Linear] * (len(layers) // 2 + 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("leaky_relu", [-0.4, 0.0, 3.0]), ("relu", [0.0, 0.0, 3.0]), ("tanh", [-0.9640276, 0.0, 0.9950548])],
)
def test_activations(name: Any, expected: list[float]) -> None:
    torch.testing.assert_close(ACTIVATIONS[name]()(torch.tensor([-2.0, 0.0, 3.0])), torch.tensor(expected))
