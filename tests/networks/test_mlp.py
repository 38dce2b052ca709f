from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.networks.mlp import MLPCritic, MLPGenerator


@pytest.mark.parametrize("shape", [(2,), (7, 3), (3, 8, 8), (2, 3, 4, 5)])
def test_samples_have_any_shape(shape: tuple[int, ...]) -> None:
    samples = MLPGenerator(shape, latent_dim=3, hidden_sizes=(4,))(torch.randn(5, 3))
    assert samples.shape == (5, *shape)
    assert MLPCritic(shape, hidden_sizes=(4,))(samples).shape == (5,)


def test_without_hidden_layers_they_are_linear_and_lay_images_out_channel_by_channel() -> None:
    generator = MLPGenerator((3, 8, 8), latent_dim=2, hidden_sizes=())
    images = generator(torch.ones(1, 2))
    (linear,) = references.layers(generator)
    flat = torch.tanh(linear(torch.ones(1, 2)))
    assert torch.equal(images[0, 2], flat[0, 2 * 64 :].view(8, 8))
    assert references.parameter_count(generator) == 192 * 2 + 192
    assert references.parameter_count(MLPCritic((1, 8, 8), hidden_sizes=())) == 64 + 1


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        ("leaky_relu", nn.LeakyReLU, [-0.4, 0.0, 3.0]),
        ("relu", nn.ReLU, [0.0, 0.0, 3.0]),
        ("tanh", nn.Tanh, [-0.9640276, 0.0, 0.9950548]),
    ],
)
def test_activation_is_honoured(name: Any, module: type[nn.Module], expected: list[float]) -> None:
    for network in (MLPGenerator((2,), activation=name, normalization="none"), MLPCritic((2,), activation=name)):
        layers = references.layers(network)
        assert [type(layer) for layer in layers] == [nn.Linear, *[module, nn.Linear] * (len(layers) // 2)]
        for activation in layers[1::2]:
            torch.testing.assert_close(activation(torch.tensor([-2.0, 0.0, 3.0])), torch.tensor(expected))
