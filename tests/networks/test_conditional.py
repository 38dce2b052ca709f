from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.networks.conditional import LatentAndClass, Score

CLASSES = 5
SMALL: dict[str, dict[str, Any]] = {name: {"width": 4} for name in {**GENERATORS, **CRITICS}} | {
    "mlp": {"hidden_sizes": (6, 5)}
}


def generator_of(name: str, num_classes: int | None = CLASSES) -> Any:
    return GENERATORS[name](12, 3, num_classes, latent_dim=7, **SMALL[name]).eval()


def critic_of(name: str, num_classes: int | None = CLASSES) -> Any:
    return CRITICS[name](12, 3, num_classes, **SMALL[name]).eval()


@pytest.mark.parametrize("name", GENERATORS)
def test_the_class_decides_the_image(name: str) -> None:
    generator = generator_of(name)
    assert generator.num_classes == CLASSES
    with torch.no_grad():
        generator.first.embedding.weight.mul_(10)  # as training may
    latent = torch.randn(1, 7).expand(CLASSES, 7)
    images = generator(latent, torch.arange(CLASSES))
    for one in range(CLASSES):
        for other in range(one):
            assert (images[one] - images[other]).abs().max() > 1e-4
    torch.testing.assert_close(generator(latent, torch.full((CLASSES,), 3)), images[3:4].expand_as(images))


@pytest.mark.parametrize("name", CRITICS)
def test_the_class_decides_the_score(name: str) -> None:
    critic = critic_of(name)
    image = torch.randn(1, 3, 12, 12).expand(CLASSES, 3, 12, 12)
    scores = critic(image, torch.arange(CLASSES))
    assert scores.shape == (CLASSES,)
    assert len(set(scores.tolist())) == CLASSES
    torch.testing.assert_close(critic(image, torch.full((CLASSES,), 3)), scores[3:4].expand_as(scores))


@pytest.mark.parametrize("name", CRITICS)
def test_score_is_a_projection(name: str) -> None:
    """Miyato and Koyama 2018, equation 4: f(x, y) = ⟨e_y, φ(x)⟩ + ψ(φ(x)); a class has a vector, and no bias."""
    critic, seen = critic_of(name), []
    critic.last.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0].flatten(1)))
    images, classes = torch.randn(6, 3, 12, 12), torch.tensor([4, 0, 2, 2, 1, 3])
    scores = critic(images, classes)
    (features,) = seen
    embedding = critic.last.by_class.weight.flatten(1)
    assert embedding.shape == (CLASSES, features.shape[1])
    by_hand = torch.stack(
        [embedding[y] @ x + critic.last.score.weight.flatten() @ x for x, y in zip(features, classes, strict=True)]
    )
    if critic.last.score.bias is not None:
        by_hand = by_hand + critic.last.score.bias
    torch.testing.assert_close(scores, by_hand, rtol=1e-4, atol=1e-5)  # float32 sums in another order
    assert critic.last.by_class.bias is None


@pytest.mark.parametrize("name", CRITICS)
def test_without_classes_a_critic_has_only_its_score(name: str) -> None:
    """And the class adds one vector of each class to it, nothing else."""
    plain, conditional = (critic_of(name, classes).state_dict() for classes in (None, CLASSES))
    assert conditional.keys() - plain.keys() == {"last.by_class.weight"}
    assert plain.keys() <= conditional.keys()
    assert all(conditional[key].shape == weight.shape for key, weight in plain.items())


@pytest.mark.parametrize("name", GENERATORS)
def test_without_classes_a_generator_has_no_embedding(name: str) -> None:
    """And the class adds an embedding as wide as the latent, and the weights of the first layer that see it."""
    plain, conditional = (generator_of(name, classes).state_dict() for classes in (None, CLASSES))
    assert conditional.keys() - plain.keys() == {"first.embedding.weight"}
    assert plain.keys() <= conditional.keys()
    wider = [key for key, weight in plain.items() if conditional[key].shape != weight.shape]
    assert wider == ["layers.0.weight"]
    assert conditional["layers.0.weight"].numel() == 2 * plain["layers.0.weight"].numel()
    assert conditional["first.embedding.weight"].shape == (CLASSES, 7)
    assert generator_of(name, None).num_classes is None


@pytest.mark.parametrize("name", GENERATORS)
def test_gradients_reach_the_classes(name: str) -> None:
    generator, critic = generator_of(name), critic_of(name)
    classes = torch.tensor([1, 3])
    critic(generator(torch.randn(2, 7), classes), classes).sum().backward()
    for weight in (generator.first.embedding.weight, critic.last.by_class.weight):
        touched = weight.grad.flatten(1).any(1)
        assert touched.tolist() == [False, True, False, True, False]


def test_latent_and_class() -> None:
    first = LatentAndClass(3, 4)
    latents = torch.randn(2, 3)
    assert first.features == 6
    outputs = first(latents, torch.tensor([2, 0]))
    assert first.embedding is not None
    embedding: Tensor = first.embedding.weight
    assert torch.equal(outputs, torch.cat([latents, embedding[[2, 0]]], 1))
    assert LatentAndClass(3, None)(latents, None) is latents


def test_embeddings_begin_small_beside_the_latent() -> None:
    """As large as the latent, they make a generator that learns to ignore it. (Five standard errors of 5,000 draws.)"""
    (weight,) = LatentAndClass(100, 50).parameters()
    assert weight.mean().item() == pytest.approx(0, abs=0.1 * 5 / 5000**0.5)
    assert weight.std().item() == pytest.approx(0.1, rel=5 / 10000**0.5)


def test_scores_stay_in_float32_under_autocast() -> None:
    score = Score(partial(nn.Linear, 6), 4)
    features, classes = torch.randn(3, 6), torch.tensor([0, 3, 1])
    with torch.autocast("cpu", torch.bfloat16):
        low = score(features.bfloat16(), classes)
    assert low.dtype == torch.float32
    assert torch.equal(low, score(features.bfloat16().float(), classes))
