import pytest
import torch

from tests.builders import bits, make_rules, make_state, train_for
from wgan_cli.players import Generator
from wgan_cli.sampling import CHUNK, image_seeds, render, sample, sample_latents


@pytest.fixture(params=["mlp", "dcgan"])
def generator(request: pytest.FixtureRequest) -> Generator:
    """A few steps old: with BatchNorm statistics of its own, and with contrast, so that no two images are alike."""
    state = make_state(request.param, generator_normalization="batch", learning_rate=0.003)
    generator = train_for(state, make_rules(), 9).generator
    with torch.no_grad():
        generator.get_parameter("last.weight").mul_(30)
    return generator


def test_latents_are_those_of_their_seeds() -> None:
    latents, seeds = sample_latents(5, 4, 7), image_seeds(5, 4)
    for latent, seed in zip(latents, seeds, strict=True):
        assert torch.equal(latent, torch.randn(7, generator=torch.Generator().manual_seed(seed)))
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert not set(image_seeds(6, 50)) & set(image_seeds(5, 50))


def test_latents_are_standard_normal() -> None:
    latents = sample_latents(0, 500, 20)
    assert latents.dtype == torch.float32
    assert abs(latents.mean().item()) < 0.05
    assert abs(latents.std().item() - 1) < 0.05


def test_image_k_depends_on_the_seed_and_k_alone(generator: Generator) -> None:
    """However many are drawn, in one go or in several, first or last: the same bits."""
    many = sample(generator, 3, 2 * CHUNK + 5)
    assert many.shape == (2 * CHUNK + 5, 1, 12, 12)
    for count in (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 40):
        assert torch.equal(sample(generator, 3, count), many[:count]), count
    assert len(torch.unique(many.flatten(1), dim=0)) == len(many)
    assert not torch.equal(sample(generator, 4, 5), many[:5])


def test_chunks_and_their_padding(generator: Generator) -> None:
    """Each image is what the generator makes of its latent in a full chunk, at its own place."""
    seen: list[torch.Tensor] = []
    generator.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    latents = sample_latents(0, CHUNK + 3, generator.latent_dim)
    chunks = list(render(generator, latents))
    assert [len(chunk) for chunk in chunks] == [CHUNK, 3]
    assert [tuple(batch.shape) for batch in seen] == [(CHUNK, generator.latent_dim)] * 2
    assert torch.equal(torch.cat(seen)[: CHUNK + 3], latents)
    assert all(chunk.dtype == torch.uint8 for chunk in chunks)


@pytest.mark.parametrize("training", [True, False])
def test_the_generator_is_left_as_it_was(training: bool, generator: Generator) -> None:
    generator.train(training)
    before, random = bits(generator), torch.get_rng_state()
    sample(generator, 0, 3)
    assert generator.training is training
    assert all(module.training is training for module in generator.modules())
    assert bits(generator) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None or parameter.requires_grad for parameter in generator.parameters())


def test_a_drawing_that_was_broken_off_restores_the_mode(generator: Generator) -> None:
    generator.train()
    chunks = render(generator, sample_latents(0, 2 * CHUNK, generator.latent_dim))
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert generator.training


def test_drawing_is_in_eval_mode_and_in_float32(generator: Generator) -> None:
    """Whatever the mode it comes in and the precision around it."""
    generator.eval()
    expected = sample(generator, 0, 5)
    generator.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sample(generator, 0, 5), expected)
