from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests import references
from wgan_cli.networks.mlp import MLPCritic, MLPGenerator

LABML_GENERATOR: dict[str, Any] = {"hidden_sizes": (256, 512, 1024), "normalization": "none"}
LABML_CRITIC: dict[str, Any] = {"hidden_sizes": (1024, 512, 256), "normalization": "none"}
PYTORCH_GAN: dict[str, Any] = {
    "hidden_sizes": (128, 256, 512, 1024),
    "normalization": "batch",
    "normalization_eps": 0.8,
}
NETWORKS = [
    pytest.param(
        lambda: MLPGenerator(28, 1, **LABML_GENERATOR), references.labml_mlp_generator, 1_486_352, id="labml generator"
    ),
    pytest.param(lambda: MLPCritic(28, 1, **LABML_CRITIC), references.labml_mlp_critic, 1_460_225, id="labml critic"),
    pytest.param(
        lambda: MLPGenerator(28, 1, **PYTORCH_GAN),
        references.pytorch_gan_generator,
        1_510_032,
        id="PyTorch-GAN generator",
    ),
    pytest.param(
        lambda: MLPCritic(28, 1, hidden_sizes=(512, 256)),
        references.pytorch_gan_critic,
        533_505,
        id="PyTorch-GAN critic",
    ),
]


@pytest.mark.parametrize(("build", "reference", "count"), NETWORKS)
def test_published_network(build: Callable[[], nn.Module], reference: Callable[[], nn.Module], count: int) -> None:
    network, published = build(), reference()
    assert references.parameter_count(network) == references.parameter_count(published) == count
    references.copy_in_order(published, network)
    inputs = torch.randn(5, 100) if isinstance(network, MLPGenerator) else torch.rand(5, 1, 28, 28) * 2 - 1
    for training in (True, False):  # BatchNorm differs between them; train first, so that its averages moved
        # The same layers in the same order on the same numbers: in-place activations change no bit.
        torch.testing.assert_close(network.train(training)(inputs), published.train(training)(inputs), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_size(channels: int) -> None:
    for size in range(8, 257):
        generator = MLPGenerator(size, channels, latent_dim=3, hidden_sizes=(1,))
        critic = MLPCritic(size, channels, hidden_sizes=(1,))
        images = generator(torch.randn(2, 3))
        assert images.shape == (2, channels, size, size)
        assert images.abs().max() <= 1
        assert critic(images).shape == (2,)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_scores_are_one_for_each_image(batch: int) -> None:
    assert MLPCritic(8, 3, **LABML_CRITIC)(torch.randn(batch, 3, 8, 8)).shape == (batch,)
    assert MLPGenerator(8, 3, **LABML_GENERATOR)(torch.randn(batch, 100)).shape == (batch, 3, 8, 8)


def test_output_range() -> None:
    """Latents large enough to saturate: images reach both ends and go beyond neither; scores are unbounded."""
    images = MLPGenerator(8, 1, latent_dim=4, **LABML_GENERATOR)(1e4 * torch.randn(8, 4))
    assert images.min() == -1
    assert images.max() == 1
    assert MLPCritic(8, 1, **LABML_CRITIC)(1e4 * torch.randn(8, 1, 8, 8)).abs().max() > 10


def test_images_are_laid_out_channel_by_channel() -> None:
    generator = MLPGenerator(8, 3, latent_dim=2, hidden_sizes=())
    images = generator(torch.ones(1, 2))
    (linear,) = references.layers(generator)
    flat = torch.tanh(linear(torch.ones(1, 2)))
    assert torch.equal(images[0, 2], flat[0, 2 * 64 :].view(8, 8))


def test_without_hidden_layers_they_are_linear() -> None:
    critic = MLPCritic(8, 1, hidden_sizes=())
    assert references.parameter_count(critic) == 64 + 1
    generator = MLPGenerator(8, 1, latent_dim=5, hidden_sizes=())
    assert references.parameter_count(generator) == 64 * 5 + 64


@pytest.mark.parametrize("kind", ["none", "batch", "layer"])
def test_normalisation_of_each_hidden_layer_but_the_first(kind: str) -> None:
    layer: dict[str, list[type[nn.Module]]] = {"none": [], "batch": [nn.BatchNorm1d], "layer": [nn.LayerNorm]}
    hidden = [nn.Linear, nn.LeakyReLU, nn.Linear, *layer[kind], nn.LeakyReLU, nn.Linear, *layer[kind], nn.LeakyReLU]
    settings: dict[str, Any] = {"hidden_sizes": (6, 5, 4), "normalization": kind}
    for network in (MLPGenerator(8, 1, **settings), MLPCritic(8, 1, **settings)):
        assert [type(module) for module in references.layers(network)] == [*hidden, nn.Linear]


@pytest.mark.parametrize(("name", "module"), [("leaky_relu", nn.LeakyReLU), ("relu", nn.ReLU), ("tanh", nn.Tanh)])
def test_activation_is_honoured(name: Any, module: type[nn.Module]) -> None:
    for network in (
        MLPGenerator(8, 1, activation=name, **LABML_GENERATOR),
        MLPCritic(8, 1, activation=name, **LABML_CRITIC),
    ):
        assert [type(layer) for layer in references.layers(network)] == [nn.Linear, module] * 3 + [nn.Linear]


def test_defaults_are_batch_for_the_generator_and_none_for_the_critic() -> None:
    assert any(isinstance(module, nn.BatchNorm1d) for module in MLPGenerator(8, 1).modules())
    assert not any(isinstance(module, nn.BatchNorm1d) for module in MLPCritic(8, 1).modules())
