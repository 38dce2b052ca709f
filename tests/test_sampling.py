import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders import bits, make_rules, make_state, train_for
from wgan_cli.images import grid
from wgan_cli.networks import GENERATORS
from wgan_cli.players import Generator
from wgan_cli.sampling import (
    CHUNK,
    classes_of,
    closed_path,
    image_seeds,
    in_turn,
    render,
    sample,
    sample_grid,
    sample_latents,
    slerp,
)

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(params=["mlp", "dcgan"])
def generator(request: pytest.FixtureRequest) -> Generator:
    """A few steps old: with BatchNorm statistics of its own, and with contrast, so that no two images are alike."""
    state = make_state(request.param, generator_normalization="batch", learning_rate=0.003)
    generator = train_for(state, make_rules(), 9).generator
    with torch.no_grad():
        generator.get_parameter("last.weight").mul_(30)
    return generator


def conditional(num_classes: int, channels: int = 1) -> Generator:
    """With contrast, so that no two images are alike."""
    torch.manual_seed(3)
    generator = GENERATORS["mlp"](8, channels, num_classes, latent_dim=6, hidden_sizes=(12,)).eval()
    with torch.no_grad():
        generator.get_parameter("last.weight").mul_(5)
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


# Truncation.


@pytest.mark.parametrize("limit", [0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("latent_dim", [1, 7, 40])  # torch draws few numbers in another way than many
def test_truncated_latents_lie_inside_and_what_lay_there_stays(limit: float, latent_dim: int) -> None:
    plain, truncated = sample_latents(3, 50, latent_dim), sample_latents(3, 50, latent_dim, limit)
    inside = plain.abs() <= limit
    assert truncated.abs().max() <= limit
    assert torch.equal(truncated[inside], plain[inside])
    assert not (truncated[~inside] == plain[~inside]).any()
    assert truncated.dtype == torch.float32
    assert truncated.unique().numel() == truncated.numel()
    assert torch.equal(sample_latents(3, 20, latent_dim, limit), truncated[:20])


def test_a_limit_that_nothing_reaches_changes_nothing() -> None:
    assert torch.equal(sample_latents(0, 20, 9, 100.0), sample_latents(0, 20, 9))


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.0])
def test_truncated_latents_are_truncated_normal(limit: float) -> None:
    """Their second moment, in closed form; by partial integration E[z²] = 1 − 2tφ(t)/P and E[z⁴] = 3E[z²] − 2t³φ(t)/P.

    Those that were drawn again have it as well; cutting at ±t instead would have another.
    """
    plain = sample_latents(1, 1000, 20)
    density, inside = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi), math.erf(limit / math.sqrt(2))
    second = 1 - 2 * limit * density / inside
    fourth = 3 * second - 2 * limit**3 * density / inside
    truncated = sample_latents(1, 1000, 20, limit)
    for values in (truncated.flatten(), truncated[plain.abs() > limit]):
        error = math.sqrt((fourth - second**2) / len(values))  # standard error of the mean of the squares
        assert abs(values.double().square().mean().item() - second) < 4 * error
        assert abs(values.double().mean().item()) < 4 * math.sqrt(second / len(values))
    cut = plain.clamp(-limit, limit).double().square().mean().item()
    assert abs(cut - second) > 20 * math.sqrt((fourth - second**2) / plain.numel())


# Paths.


def on_the_circle(start: Numbers, end: Numbers, share: float) -> Numbers:
    """Between two of one length: turn the start towards the end, in the plane of the two."""
    length = np.sqrt((start**2).sum())
    across = end - (end @ start) / (start @ start) * start
    across *= length / np.sqrt((across**2).sum())
    angle = share * np.arctan2(end @ across, end @ start)
    turned: Numbers = np.cos(angle) * start + np.sin(angle) * across
    return turned


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("latent_dim", [2, 3, 100])
def test_between_latents_of_one_length_it_is_a_turn(share: float, latent_dim: int) -> None:
    start, end = sample_latents(0, 2, latent_dim).double()
    end *= start.norm() / end.norm()
    found = slerp(start, end, share)
    np.testing.assert_allclose(found.numpy(), on_the_circle(start.numpy(), end.numpy(), share), atol=1e-12)
    assert found.norm().item() == pytest.approx(start.norm().item(), rel=1e-12)
    cosine = (start @ end / start.norm() ** 2).item()
    assert (start @ found / start.norm() ** 2).item() == pytest.approx(math.cos(share * math.acos(cosine)), abs=1e-12)


def test_a_straight_line_would_be_shorter_on_the_way() -> None:
    start, end = sample_latents(0, 2, 100)
    end *= start.norm() / end.norm()
    middle = slerp(start, end, 0.5)
    assert middle.norm().item() == pytest.approx(start.norm().item(), rel=1e-6)
    assert torch.lerp(start, end, 0.5).norm() < 0.8 * start.norm()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_latents_of_two_lengths_are_weighted_by_the_same_formula(share: float) -> None:
    start, end = (latent.numpy().astype(np.float64) for latent in sample_latents(7, 2, 30))
    end *= 3
    angle = np.arccos(start @ end / np.sqrt((start @ start) * (end @ end)))
    expected = (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)
    found = slerp(torch.tensor(start).float(), torch.tensor(end).float(), share)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("latent_dim", [1, 2, 5, 100])
@pytest.mark.parametrize("count", [2, 3])
def test_a_way_begins_and_ends_at_its_latents_to_the_bit(latent_dim: int, count: int) -> None:
    for start, end in pairwise(sample_latents(2, count, latent_dim)):
        assert torch.equal(slerp(start, end, 0.0), start)
        assert torch.equal(slerp(start, end, 1.0), end)


def test_where_there_is_no_one_circle_the_line_is_taken() -> None:
    latent = sample_latents(0, 1, 20)[0]
    zero = torch.zeros(20)
    for start, end in ((latent, latent), (latent, 2 * latent), (latent, -latent), (zero, latent), (zero, zero)):
        for share in (0.0, 0.25, 0.5, 1.0):
            assert torch.allclose(slerp(start, end, share), (1 - share) * start + share * end, atol=1e-6)


def test_latents_that_almost_point_one_way() -> None:
    """The angle is small, and the formula divides by its sine."""
    start = sample_latents(0, 1, 20)[0]
    for tiny in (1e-3, 1e-5, 1e-7):
        end = start + tiny * torch.eye(20)[0]
        assert torch.allclose(slerp(start, end, 0.5), (start + end) / 2, atol=1e-5)


@pytest.mark.parametrize(("stops", "frames"), [(2, 5), (4, 16), (3, 1)])
def test_a_path_goes_through_its_stops_and_closes(stops: int, frames: int) -> None:
    latents = sample_latents(0, stops, 12)
    latents *= latents[0].norm() / latents.norm(dim=1, keepdim=True)
    path = closed_path(latents, frames)
    assert path.shape == (stops * frames, 12)
    assert torch.equal(path[::frames], latents)
    np.testing.assert_allclose(path.norm(dim=1).numpy(), latents[0].norm().item(), rtol=1e-5)
    # All the steps of a leg are of one angle, and so is the last one of all, back to the first latent.
    around = torch.cat([path, path[:1]]).double()
    cosines = torch.nn.functional.cosine_similarity(around[:-1], around[1:])
    for leg, steps in enumerate(cosines.acos().view(stops, frames)):
        whole = torch.nn.functional.cosine_similarity(latents[leg], latents[(leg + 1) % stops], dim=0).acos().item()
        np.testing.assert_allclose(steps.numpy(), whole / frames, rtol=1e-4)


# Rendering.


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
    seen: list[Tensor] = []
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


# Classes.


def test_classes_come_in_turn() -> None:
    found = in_turn([7, 3, 3], 7)
    assert found is not None
    assert found.dtype == torch.int64
    assert found.tolist() == [7, 3, 3, 7, 3, 3, 7]
    assert in_turn([], 5) is None


def test_the_classes_of_a_generator(generator: Generator) -> None:
    assert classes_of(conditional(4)) == [0, 1, 2, 3]
    assert classes_of(conditional(1)) == [0]
    assert classes_of(generator) == []


def test_an_image_depends_on_its_class_beside_the_seed_and_k() -> None:
    """Not on the classes of the others, nor on how many there are."""
    generator, count = conditional(3), CHUNK + 7
    latents = sample_latents(2, count, 6)
    of_each = [torch.cat(list(render(generator, latents, in_turn([each], count)))) for each in range(3)]
    assert not any((one == other).flatten(1).all(1).any() for one, other in pairwise(of_each))
    for classes in ([0, 1, 2], [2, 0], [1, 1, 0, 2]):
        mixed = torch.cat(list(render(generator, latents, in_turn(classes, count))))
        for index, image in enumerate(mixed):
            assert torch.equal(image, of_each[classes[index % len(classes)]][index])
    mixed = sample(generator, 2, count)
    assert torch.equal(mixed[1::3], of_each[1][1::3])
    assert torch.equal(sample(generator, 2, 5), mixed[:5])


def test_the_grid_of_a_generator_without_classes(generator: Generator) -> None:
    assert torch.equal(sample_grid(generator, 5), grid(sample(generator, 5, 64)))


@pytest.mark.parametrize(("num_classes", "rows"), [(1, 1), (3, 3), (16, 16), (40, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_shows_a_class_a_row(num_classes: int, rows: int, channels: int) -> None:
    generator = conditional(num_classes, channels)
    canvas = sample_grid(generator, 4)
    assert canvas.shape == (channels, rows * 10 + 2, 8 * 10 + 2)
    latents = sample_latents(4, rows * 8, 6)
    for row in range(rows):
        images = torch.cat(list(render(generator, latents, torch.full((rows * 8,), row))))
        for column in range(8):
            top, left = row * 10 + 2, column * 10 + 2
            assert torch.equal(canvas[:, top : top + 8, left : left + 8], images[column * rows + row])
