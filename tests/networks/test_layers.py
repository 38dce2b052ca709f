import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import references
from wgan_cli.constraints import gradient_norms
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.networks.layers import ACTIVATIONS, doubling, halvings, normalize

NORMALIZATIONS = nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    **{f"{name} generator": build for name, build in GENERATORS.items()},
    **{f"{name} critic": build for name, build in CRITICS.items()},
}
# Small or, for mlp, the source's; the same latents for all, and no chance where it is not what a test is about.
SETTINGS: dict[str, dict[str, Any]] = {
    "dcgan_5x5 generator": {"latent_dim": 100, "width": 16},
    "dcgan_5x5 critic": {"width": 16},
    "mlp generator": {"hidden_sizes": (256, 512, 1024), "normalization": "none"},
    "mlp critic": {"hidden_sizes": (1024, 512, 256)},
    "resnet generator": {"latent_dim": 100, "width": 16},
    "resnet critic": {"width": 16},
    "upsample_conv critic": {"dropout": 0.0},
}


def with_setting(setting: str) -> list[str]:
    """The networks that have a setting."""
    return [name for name, build in BUILDERS.items() if setting in inspect.signature(build).parameters]


def build(name: str, **settings: Any) -> nn.Module:
    return BUILDERS[name](16, 1, **{**SETTINGS.get(name, {}), **settings})


def inputs(name: str, count: int) -> Tensor:
    shape = (count, 100) if name.endswith("generator") else (count, 1, 16, 16)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", with_setting("normalization"))
def test_layer_normalisation_is_independent_across_samples(name: str) -> None:
    """And BatchNorm, in train mode, is not: which is why a gradient penalty cannot have it."""
    batch = inputs(name, 4)
    other = torch.cat([batch[:1], 5 + 3 * batch[1:].flip(0)])
    layer, batch_norm = build(name, normalization="layer"), build(name, normalization="batch")
    torch.testing.assert_close(layer(batch)[0], layer(other)[0], rtol=1e-4, atol=1e-6)  # float32 sums
    assert not torch.allclose(batch_norm(batch)[0], batch_norm(other)[0], rtol=1e-2)


@pytest.mark.parametrize("images", [False, True])
def test_layer_normalisation_covers_all_of_a_sample(images: bool) -> None:
    shape = (3, 6, 4, 4) if images else (3, 6)
    (layer,) = normalize("layer", 6, 1e-5, images=images)
    features = torch.randn(shape) * torch.arange(1, 7).view(1, 6, *(1,) * (len(shape) - 2)) + 2
    whole = features.flatten(1)  # one mean and one variance of a sample, not one of each of its channels
    expected = (whole - whole.mean(1, keepdim=True)) / whole.std(1, unbiased=False, keepdim=True)
    torch.testing.assert_close(layer(features).flatten(1), expected, rtol=1e-3, atol=1e-3)  # eps of 1e-5, float32


@pytest.mark.parametrize("name", BUILDERS)
def test_the_last_layer_stays_in_float32_under_autocast(name: str) -> None:
    """bf16 has 8 bits: it would round a score of 1000 to a multiple of 4, and training is about differences."""
    network = build(name)
    layers = [layer for layer in references.layers(network) if hasattr(layer, "weight")]
    dtypes: list[torch.dtype] = []
    for layer in (layers[0], layers[-1]):
        layer.register_forward_hook(lambda _module, _inputs, output: dtypes.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        low = network(inputs(name, 4))
        assert torch.is_autocast_enabled("cpu")
    full = network(inputs(name, 4))
    assert dtypes == [torch.bfloat16, torch.float32, torch.float32, torch.float32]
    assert low.dtype == full.dtype == torch.float32
    # Three layers' rounding to 8 bits, as a part of the largest output: small, but there.
    assert 0 < (low - full).abs().max() < 0.05 * full.abs().max()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", [name for name in BUILDERS if name.endswith("critic")])
def test_gradient_penalty_goes_through_each_critic(name: str, channels_last: bool) -> None:
    """With its default normalisation, which is none over the batch: no sample's gradient knows the others."""
    critic, images = build(name), inputs(name, 4)
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in critic.modules())
    if channels_last:  # as a run has it
        critic, images = critic.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    norms = gradient_norms(critic, images)
    assert norms.shape == (4,)
    assert (norms > 0).all()
    torch.testing.assert_close(gradient_norms(critic, images[:1]), norms[:1], rtol=1e-4, atol=1e-7)  # float32 sums
    norms.sum().backward()
    weights = {name: weight for name, weight in critic.named_parameters() if weight.dim() > 1}
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights.values())
    assert all(weight.grad is not None and weight.grad.any() for weight in weights.values())


@pytest.mark.parametrize("normalization", ["none", "layer"])
@pytest.mark.parametrize("name", [name for name in BUILDERS if name.endswith("critic")])
def test_working_in_place_changes_no_gradient_of_a_gradient(name: str, normalization: str) -> None:
    """Bit for bit: what an activation overwrites, nothing needs."""
    critic = build(name, **({"normalization": normalization} if name in with_setting("normalization") else {}))
    careful = copy.deepcopy(critic)
    activations: list[Any] = [module for module in careful.modules() if hasattr(module, "inplace")]
    for activation in activations:
        activation.inplace = False
    images, gradients = inputs(name, 4), []
    for network in (critic, careful):
        penalty = (gradient_norms(network, images) - 1).square().mean()
        weights = [weight for weight in network.parameters() if weight.dim() > 1]
        gradients.append(torch.autograd.grad(penalty, weights))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*gradients, strict=True))


@pytest.mark.parametrize("images", [False, True])
def test_no_normalisation_is_no_layer(images: bool) -> None:
    assert normalize("none", 6, 1e-5, images=images) == []


@pytest.mark.parametrize("kind", ["batch", "layer"])
@pytest.mark.parametrize("name", with_setting("normalization_eps"))
def test_normalization_eps_is_honoured(name: str, kind: str) -> None:
    layers = [
        m for m in build(name, normalization=kind, normalization_eps=0.8).modules() if isinstance(m, NORMALIZATIONS)
    ]
    assert layers
    if name == "upsample_conv generator":  # whose source has torch's own eps there
        assert layers.pop(0).eps == 1e-5
    assert {layer.eps for layer in layers} == {0.8}
    # An eps of 0.8 is one, and not BatchNorm's second-to-next argument, its momentum.
    assert all(layer.momentum == 0.1 for layer in layers if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d))
    defaults = [m.eps for m in build(name, normalization=kind).modules() if isinstance(m, NORMALIZATIONS)]
    assert set(defaults) == {1e-5}


@pytest.mark.parametrize("std", [0.02, 0.1])
@pytest.mark.parametrize("name", with_setting("initialization"))
def test_normal_initialization(name: str, std: float) -> None:
    network = build(name, normalization="batch", initialization="normal", initialization_std=std)
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    scales: list[Tensor] = [m.weight for m in network.modules() if isinstance(m, NORMALIZATIONS)]
    for weight in weights:
        # The standard deviation of n draws is itself known to 1/√(2n), the mean to 1/√n: five of those.
        assert weight.std().item() == pytest.approx(std, rel=5 / (2 * weight.numel()) ** 0.5)
        assert abs(weight.mean().item()) < 5 * std / weight.numel() ** 0.5
    scale = torch.cat(scales)
    assert scale.mean().item() == pytest.approx(1, abs=5 * std / scale.numel() ** 0.5)
    assert scale.std().item() == pytest.approx(std, rel=5 / (2 * scale.numel()) ** 0.5)
    biases = [parameter for key, parameter in network.named_parameters() if key.endswith("bias")]
    assert biases
    assert all((bias == 0).all() for bias in biases)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("mlp generator", references.labml_mlp_generator), ("mlp critic", references.labml_mlp_critic)],
)
def test_default_initialization_is_torchs(name: str, reference: Callable[[], nn.Module]) -> None:
    """The same draws in the same order as torch's own layers make them: nothing was drawn or changed after."""
    torch.manual_seed(3)
    network = BUILDERS[name](28, 1, **SETTINGS[name], initialization="default")
    torch.manual_seed(3)
    for ours, theirs in zip(network.parameters(), reference().parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("scheme", ["default", "normal"])
@pytest.mark.parametrize("name", BUILDERS)
def test_weights_come_from_the_global_stream_alone(name: str, scheme: str) -> None:
    settings = {"initialization": scheme} if name in with_setting("initialization") else {}

    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build(name, **settings).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("leaky_relu", [-0.4, 0.0, 3.0]), ("relu", [0.0, 0.0, 3.0]), ("tanh", [-0.9640276, 0.0, 0.9950548])],
)
def test_activations(name: Any, expected: list[float]) -> None:
    torch.testing.assert_close(ACTIVATIONS[name]()(torch.tensor([-2.0, 0.0, 3.0])), torch.tensor(expected))


@pytest.mark.parametrize(
    ("size", "smallest", "sizes"),
    [
        (28, 4, [28, 14, 7, 4]),
        (32, 8, [32, 16, 8]),
        (8, 8, [8, 4]),  # once at least
        (255, 8, [255, 128, 64, 32, 16, 8]),
        (9, 2, [9, 5, 3, 2]),
    ],
)
def test_halvings_round_up(size: int, smallest: int, sizes: list[int]) -> None:
    assert halvings(size, smallest) == sizes


def test_doubling_ends_at_eightfold() -> None:
    assert doubling(3, 6) == [3, 6, 12, 24, 24, 24]
    assert doubling(3, 1) == [3]
