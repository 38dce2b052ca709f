"""What holds for every generator and every critic."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import references
from wgan_cli.constraints import gradient_norms
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.networks.players import Batch, mixes_samples

NETWORKS: dict[str, Callable[..., Any]] = {
    **{f"{name} generator": part for name, part in GENERATORS.items()},
    **{f"{name} critic": part for name, part in CRITICS.items()},
}
ALL_CRITICS = [name for name in NETWORKS if name.endswith("critic")]
NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm
# Small networks, or for mlp the source's. All have the same latents, and none draws random numbers in training.
SETTINGS: dict[str, dict[str, Any]] = {
    "dcgan_5x5 generator": {"latent_dim": 100, "width": 16},
    "dcgan_5x5 critic": {"width": 16},
    "mlp generator": {"hidden_sizes": (256, 512, 1024), "normalization": "none"},
    "mlp critic": {"hidden_sizes": (1024, 512, 256)},
    "resnet generator": {"latent_dim": 100, "width": 16},
    "resnet critic": {"width": 16},
    "upsample_conv critic": {"dropout": 0.0},
}
CLASSES = 5


def having(setting: str) -> list[str]:
    """The networks that have a setting."""
    return [name for name in NETWORKS if setting in inspect.signature(NETWORKS[name]).parameters]


def make(name: str, size: int, channels: int, num_classes: int | None = None, **settings: Any) -> Any:
    """Build a network for square images."""
    data = ((channels, size, size),) if name.startswith("mlp") else (size, channels)
    return NETWORKS[name](*data, num_classes=num_classes, **settings)


def build(name: str, num_classes: int | None = None, **settings: Any) -> Any:
    return make(name, 16, 1, num_classes, **{**SETTINGS.get(name, {}), **settings})


def inputs(name: str, count: int) -> Tensor:
    """Latents or images for a network that ``build`` made."""
    shape = (count, 100) if name.endswith("generator") else (count, 1, 16, 16)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def weights_of(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.dim() > 1]


def penalty_gradients(critic: Any, images: Tensor, weights: list[nn.Parameter]) -> Sequence[Tensor]:
    """Return the gradients of a gradient penalty by the weights."""
    return torch.autograd.grad((gradient_norms(critic, Batch(images)) - 1).square().mean(), weights)


GAN_WGAN = {"hidden_sizes": (128, 256, 512, 1024), "normalization": "batch", "normalization_eps": 0.8}
BATCH, GAN = {"normalization": "batch"}, {"normalization": "batch", "normalization_eps": 0.8}
# Name, image size, channels, settings, the published network, its parameters, and the tolerated difference: none if the
# same layers see the same numbers in the same order, else that of float32 sums in another order, several layers deep.
PUBLISHED: list[tuple[str, int, int, dict[str, Any], Callable[[], nn.Module], int, float]] = [
    ("dcgan generator", 28, 1, {"width": 256}, references.labml_generator, 7_745_024, 0),
    ("dcgan critic", 28, 1, {"width": 256, **BATCH}, references.labml_critic, 6_832_128, 0),
    ("dcgan generator", 64, 3, {"width": 64}, references.wgan_generator, 3_576_704, 0),
    ("dcgan critic", 64, 3, {"width": 64, **BATCH}, references.wgan_critic, 2_765_568, 0),
    ("dcgan_5x5 generator", 28, 1, {"width": 64}, references.wgan_gp_mnist_generator, 1_554_177, 1e-5),
    ("dcgan_5x5 critic", 28, 1, {"width": 64}, lambda: references.wgan_gp_critic(1, 64), 1_030_145, 1e-5),
    ("dcgan_5x5 generator", 32, 3, {"width": 32, **BATCH}, references.wgan_gp_cifar_generator, 526_979, 1e-5),
    ("dcgan_5x5 critic", 32, 3, {"width": 128}, lambda: references.wgan_gp_critic(3, 128), 4_114_689, 1e-5),
    ("mlp generator", 28, 1, SETTINGS["mlp generator"], references.labml_mlp_generator, 1_486_352, 0),
    ("mlp critic", 28, 1, SETTINGS["mlp critic"], references.labml_mlp_critic, 1_460_225, 0),
    ("mlp generator", 28, 1, GAN_WGAN, references.pytorch_gan_generator, 1_510_032, 0),
    ("mlp critic", 28, 1, {"hidden_sizes": (512, 256)}, references.pytorch_gan_critic, 533_505, 0),
    ("resnet generator", 32, 3, {"width": 128}, references.wgan_gp_resnet_generator, 1_204_483, 2e-5),
    ("resnet generator", 32, 3, {"width": 256}, lambda: references.wgan_gp_resnet_generator(256), 4_276_739, 2e-5),
    ("resnet critic", 32, 3, {"width": 128}, references.wgan_gp_resnet_critic, 1_053_825, 2e-5),
    ("resnet critic", 32, 3, {"width": 16, "pooling": "sum"},
     lambda: references.wgan_gp_resnet_critic(16, "sum"), 17_041, 2e-5),
    ("upsample_conv generator", 32, 1, {"width": 64, **GAN}, references.pytorch_gan_upsample_generator, 1_049_985, 0),
    ("upsample_conv critic", 32, 1, {"width": 16, **GAN}, references.pytorch_gan_dropout_critic, 98_113, 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "channels", "settings", "reference", "count", "tolerance"), PUBLISHED)
def test_published_network(
    name: str, size: int, channels: int, settings: Any, reference: Any, count: int, tolerance: float
) -> None:
    torch.manual_seed(3)
    network = make(name, size, channels, **settings)
    torch.manual_seed(3)
    published = reference()
    assert references.parameter_count(network) == references.parameter_count(published) == count
    if name.startswith(("mlp", "upsample_conv")):  # by default they keep torch's draws, in the same order
        assert all(map(torch.equal, network.parameters(), published.parameters()))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:  # biases and scales, most of which start at 0 or 1
                parameter.add_(torch.randn_like(parameter) / 10)
    references.copy_in_order(network, published)
    is_generator = name.endswith("generator")
    shape = (4, network.latent_dim) if is_generator else (4, channels, size, size)
    samples = torch.randn(shape) if is_generator else torch.rand(shape) * 2 - 1
    for training in (True, False):  # train first, so that BatchNorm's averages are not the initial ones
        outputs = []
        for each in (network, published):
            torch.manual_seed(4)  # for dropout
            outputs.append(each.train(training)(samples))
        ours, expected = outputs
        scale = expected.abs().max().item()
        torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * scale)
        assert expected.std() > 0.01 * scale  # 500 times the tolerance: a network that ignores its input would fail
    if tolerance and not is_generator:  # gradients of gradients are the source's as well
        expected = penalty_gradients(lambda images, _: published(images), samples, weights_of(published))
        for ours, theirs in zip(penalty_gradients(network, samples, weights_of(network)), expected, strict=True):
            assert theirs.abs().max() > 0
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())  # float32 sums


@pytest.mark.parametrize("architecture", GENERATORS)
def test_image_sizes(architecture: str) -> None:
    small: dict[str, Any] = {"hidden_sizes": (1,)} if architecture == "mlp" else {"width": 1}
    for size in (*range(8, 66), 100, 127, 128, 129, 255, 256):
        channels, count = 3 if size % 4 < 2 else 1, 1 + size % 2
        generator = make(f"{architecture} generator", size, channels, latent_dim=2, **small).eval()
        images = generator(torch.randn(count, 2))
        assert images.shape == (count, channels, size, size)
        assert images.abs().max() <= 1
        assert make(f"{architecture} critic", size, channels, **small)(images).shape == (count,)


@pytest.mark.parametrize("size", [8, 9, 28, 33])
@pytest.mark.parametrize("name", ALL_CRITICS)
def test_each_pixel_matters(name: str, size: int) -> None:
    images = torch.randn(1, 3, size, size, requires_grad=True)
    make(name, size, 3, **SETTINGS.get(name, {}))(images).sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).all()


UP = "{0}.layers: norm1 activation1 up conv1 norm2 activation2 conv2; {0}.shortcut: conv up; "
# The layers at 28 pixels.
LAYERS = {
    "dcgan generator": "3x3: conv norm activation; 7x7: conv norm activation; 14x14: conv norm activation",
    "dcgan critic": "14x14: conv activation; 7x7: conv norm activation; 3x3: conv norm activation",
    "dcgan_5x5 generator": "4x4: linear norm activation unflatten; "
    "7x7: conv crop norm activation; 14x14: conv crop norm activation",
    "dcgan_5x5 critic": "14x14: pad conv activation; 7x7: pad conv norm activation; 4x4: pad conv norm activation",
    "mlp generator": "hidden1: linear activation; hidden2: linear norm activation; hidden3: linear norm activation",
    "mlp critic": "hidden1: linear activation; hidden2: linear norm activation; hidden3: linear norm activation",
    "resnet generator": "3x3: linear unflatten; "
    + "".join(map(UP.format, ("7x7", "14x14", "28x28")))
    + "end: norm activation",
    "resnet critic": "14x14.layers: conv1 activation2 conv2 down; 14x14.shortcut: down conv; "
    "7x7.layers: activation1 conv1 activation2 conv2 down; 7x7.shortcut: down conv; "
    "7x7_1.layers: activation1 conv1 activation2 conv2; 7x7_2.layers: activation1 conv1 activation2 conv2; "
    "end: activation",
    "upsample_conv generator": "7x7: linear unflatten norm; "
    "14x14: up conv norm activation; 28x28: up conv norm activation",
    "upsample_conv critic": "14x14: conv activation dropout; 7x7: conv activation dropout norm; "
    "4x4: conv activation dropout norm; 2x2: conv activation dropout norm",
}


@pytest.mark.parametrize("kind", ["none", "batch", "layer"])
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_named_and_normalised_as_in_the_source(name: str, kind: str) -> None:
    """Checkpoints hold these names."""
    blocks = [block.split(": ") for block in LAYERS[name].split("; ")]
    expected = [f"{where}.{layer}" for where, layers in blocks for layer in layers.split()]
    settings = {"normalization": kind} if name in having("normalization") else {}
    network = make(name, 28, 1, **{**SETTINGS.get(name, {}), **settings})
    modules = dict(network.layers.named_modules(remove_duplicate=False))
    groups = {key for key, module in modules.items() if isinstance(module, nn.Sequential) or any(module.children())}
    kept = [key for key in expected if kind != "none" or "norm" not in key]
    assert [key for key in modules if key not in groups] == kept
    norms = {"none": (), "batch": (nn.BatchNorm1d, nn.BatchNorm2d), "layer": (nn.LayerNorm, nn.GroupNorm)}[kind]
    assert all(isinstance(module, norms) for key, module in modules.items() if "norm" in key)


@pytest.mark.parametrize("std", [0.02, 0.1])
@pytest.mark.parametrize("name", having("initialization"))
def test_normal_initialization(name: str, std: float) -> None:
    network = build(name, normalization="batch", initialization="normal", initialization_std=std)
    scales = torch.cat([module.weight for module in network.modules() if isinstance(module, NORMS)])
    for values, mean in [*((weight, 0) for weight in weights_of(network)), (scales, 1)]:
        # The standard deviation of n draws is itself known to 1/√(2n), the mean to 1/√n: five of those.
        assert values.std().item() == pytest.approx(std, rel=5 / (2 * values.numel()) ** 0.5)
        assert values.mean().item() == pytest.approx(mean, abs=5 * std / values.numel() ** 0.5)
    biases = [parameter for key, parameter in network.named_parameters() if key.endswith("bias")]
    assert not torch.cat(biases).any()


@pytest.mark.parametrize("scheme", ["default", "normal"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_come_from_the_global_stream_alone(name: str, scheme: str) -> None:
    settings: dict[str, Any] = {"initialization": scheme} if name in having("initialization") else {}

    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build(name, **settings).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("name", having("normalization"))
def test_only_batch_norm_mixes_samples(name: str) -> None:
    """This is why a gradient penalty, which looks at single samples, cannot have it."""
    batch = inputs(name, 4)
    other = torch.cat([batch[:1], 5 + 3 * batch[1:].flip(0)])
    layer, batch_norm = (build(name, normalization=kind) for kind in ("layer", "batch"))
    torch.testing.assert_close(layer(batch)[0], layer(other)[0], rtol=1e-4, atol=1e-6)  # float32 sums
    assert not torch.allclose(batch_norm(batch)[0], batch_norm(other)[0], rtol=1e-2)
    assert mixes_samples(batch_norm)
    assert not mixes_samples(layer)


@pytest.mark.parametrize("kind", ["batch", "layer"])
@pytest.mark.parametrize("name", having("normalization_eps"))
def test_normalization_eps_is_honoured(name: str, kind: str) -> None:
    def norms(**settings: Any) -> list[Any]:
        return [module for module in build(name, normalization=kind, **settings).modules() if isinstance(module, NORMS)]

    layers = norms(normalization_eps=0.8)
    assert layers
    if name == "upsample_conv generator":  # whose source has torch's own eps there
        assert layers.pop(0).eps == 1e-5
    assert {layer.eps for layer in layers} == {0.8}
    # BatchNorm's argument after the next is its momentum, which PyTorch-GAN's 0.8 is easily taken for.
    assert all(layer.momentum == 0.1 for layer in layers if kind == "batch")
    assert {layer.eps for layer in norms()} == {1e-5}


@pytest.mark.parametrize("name", ALL_CRITICS)
def test_gradient_penalty_goes_through_each_critic(name: str) -> None:
    """By default no sample's gradient depends on the others, and the memory layout changes none."""
    critic, images = build(name), inputs(name, 4)
    assert not mixes_samples(critic)
    norms = gradient_norms(critic, Batch(images))
    assert (norms > 0).tolist() == [True] * 4
    single = gradient_norms(critic, Batch(images[:1]))
    torch.testing.assert_close(single, norms[:1], rtol=1e-4, atol=1e-7)  # float32 sums
    # A run keeps its networks like this.
    critic, images = critic.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    laid_out = gradient_norms(critic, Batch(images))
    torch.testing.assert_close(laid_out, norms, rtol=1e-4, atol=1e-7)
    laid_out.sum().backward()
    for weight in weights_of(critic):
        assert weight.grad is not None
        assert weight.grad.isfinite().all()
        assert weight.grad.any()


@pytest.mark.parametrize("normalization", ["none", "layer"])
@pytest.mark.parametrize("name", ALL_CRITICS)
def test_working_in_place_changes_no_gradient_of_a_gradient(name: str, normalization: str) -> None:
    """Bit for bit: nothing needs what an activation overwrites."""
    settings: dict[str, Any] = {"normalization": normalization} if name in having("normalization") else {}
    critic = build(name, **settings)
    careful = copy.deepcopy(critic)
    for module in careful.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    gradients = (penalty_gradients(each, inputs(name, 4), weights_of(each)) for each in (critic, careful))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
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


@pytest.mark.parametrize("architecture", GENERATORS)
def test_the_class_decides_the_image(architecture: str) -> None:
    generator = build(f"{architecture} generator", CLASSES).eval()
    assert generator.num_classes == CLASSES
    with torch.no_grad():
        generator.first.embedding.weight.mul_(10)  # as training may
    latent = torch.randn(1, 100).expand(CLASSES, 100)
    images = generator(latent, torch.arange(CLASSES))
    assert (torch.pdist(images.flatten(1), p=float("inf")) > 1e-4).all()  # between any two
    torch.testing.assert_close(generator(latent, torch.full((CLASSES,), 3)), images[3:4].expand_as(images))


@pytest.mark.parametrize("name", ALL_CRITICS)
def test_the_class_decides_the_score_by_a_projection(name: str) -> None:
    """Miyato and Koyama 2018, equation 4: f(x, y) = ⟨e_y, φ(x)⟩ + ψ(φ(x)). A class has a vector, and no bias."""
    critic, seen = build(name, CLASSES), list[Tensor]()
    critic.last.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0].flatten(1)))
    images, classes = inputs(name, 1).expand(CLASSES, 1, 16, 16), torch.tensor([4, 0, 3, 1, 2])
    scores = critic(images, classes)
    assert len(set(scores.tolist())) == CLASSES
    (features,) = seen
    assert critic.last.by_class.bias is None
    embedding, weight, bias = critic.last.by_class.weight, critic.last.score.weight, critic.last.score.bias
    by_hand = [embedding[y].flatten() @ x + weight.flatten() @ x for x, y in zip(features, classes, strict=True)]
    expected = torch.stack(by_hand) + (0 if bias is None else bias)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("name", NETWORKS)
def test_classes_add_one_embedding_and_nothing_else(name: str) -> None:
    """A generator's first layer sees the embedding beside the latent, and so is twice as wide."""
    plain, conditional = (build(name, classes).state_dict() for classes in (None, CLASSES))
    generates = name.endswith("generator")
    added = "first.embedding.weight" if generates else "last.by_class.weight"
    assert [key for key in conditional if key not in plain] == [added]
    assert len(conditional[added]) == CLASSES
    wider = [key for key, weight in plain.items() if conditional[key].shape != weight.shape]
    assert wider == (list(plain)[:1] if generates else [])
    assert all(conditional[key].numel() == 2 * plain[key].numel() for key in wider)


@pytest.mark.parametrize("architecture", GENERATORS)
def test_gradients_reach_the_classes(architecture: str) -> None:
    generator, critic = (build(f"{architecture} {player}", CLASSES) for player in ("generator", "critic"))
    classes = torch.tensor([1, 3])
    critic(generator(torch.randn(2, 100), classes), classes).sum().backward()
    for weight in (generator.first.embedding.weight, critic.last.by_class.weight):
        assert weight.grad.flatten(1).any(1).tolist() == [False, True, False, True, False]
