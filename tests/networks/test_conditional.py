from functools import partial

import pytest
import torch
from torch import nn

from wgan_cli.networks.conditional import LatentAndClass, Score


def test_the_embedding_of_the_class_is_beside_the_latent() -> None:
    first, latents = LatentAndClass(3, 4), torch.randn(2, 3)
    assert first.features == 6
    assert first.embedding is not None
    outputs = first(latents, torch.tensor([2, 0]))
    assert torch.equal(outputs, torch.cat([latents, first.embedding.weight[[2, 0]]], 1))
    assert LatentAndClass(3, None)(latents, None) is latents


def test_embeddings_start_small_beside_the_latent() -> None:
    """As large as the latent, they make a generator that learns to ignore it. (Five standard errors of 5,000 draws.)"""
    (weight,) = LatentAndClass(100, 50).parameters()
    assert weight.mean().item() == pytest.approx(0, abs=0.1 * 5 / 5000**0.5)
    assert weight.std().item() == pytest.approx(0.1, rel=5 / 10000**0.5)


def test_scores_need_classes_and_stay_in_float32_under_autocast() -> None:
    score = Score(partial(nn.Linear, 6), 4)
    features, classes = torch.randn(3, 6), torch.tensor([0, 3, 1])
    with torch.autocast("cpu", torch.bfloat16):
        low = score(features.bfloat16(), classes)
    assert low.dtype == torch.float32
    assert torch.equal(low, score(features.bfloat16().float(), classes))
    with pytest.raises(TypeError, match="built with classes"):
        score(features, None)
