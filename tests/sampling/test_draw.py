import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.builders import bits
from tests.sampling.conftest import TinyGenerator, cut_cells, draw_bytes, make_images
from wgan_cli.networks.players import Generator
from wgan_cli.sampling.draw import (
    arrange_real,
    cycle,
    derive_latent_seeds,
    draw,
    draw_grid,
    draw_latents,
    interpolate,
    render,
    slerp,
    take_from,
)
from wgan_cli.sampling.pictures import make_grid

CHUNK = 64  # so many samples are generated at a time


def test_each_latent_comes_from_its_own_seed() -> None:
    latents, seeds = draw_latents(5, 4, 7), derive_latent_seeds(5, 4)
    for latent, seed in zip(latents, seeds, strict=True):
        assert torch.equal(latent, torch.randn(7, generator=torch.Generator().manual_seed(seed)))
    assert len(set(seeds)) == 4
    assert not set(derive_latent_seeds(6, 50)) & set(derive_latent_seeds(5, 50))
    latents = draw_latents(0, 500, 20)
    assert latents.dtype == torch.float32
    assert abs(latents.mean().item()) < 0.05
    assert abs(latents.std().item() - 1) < 0.05


@pytest.mark.parametrize("limit", [0.01, 0.5, 2.0])
@pytest.mark.parametrize("latent_dim", [1, 7, 40])  # torch draws few numbers in another way than many
def test_truncation_draws_only_the_components_outside_again(limit: float, latent_dim: int) -> None:
    plain, truncated = draw_latents(3, 50, latent_dim), draw_latents(3, 50, latent_dim, limit)
    inside = plain.abs() <= limit
    assert truncated.abs().max() <= limit
    assert torch.equal(truncated[inside], plain[inside])
    assert not (truncated[~inside] == plain[~inside]).any()
    assert truncated.dtype == torch.float32
    assert truncated.unique().numel() == truncated.numel()
    assert torch.equal(draw_latents(3, 20, latent_dim, limit), truncated[:20])


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.0])
def test_truncated_latents_are_truncated_normal(limit: float) -> None:
    """Also those that were drawn again. In closed form E[z²] = 1 − 2tφ(t)/P, and E[z⁴] = 3E[z²] − 2t³φ(t)/P."""
    plain = draw_latents(1, 1000, 20)
    density, inside = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi), math.erf(limit / math.sqrt(2))
    second = 1 - 2 * limit * density / inside
    fourth = 3 * second - 2 * limit**3 * density / inside
    truncated = draw_latents(1, 1000, 20, limit)
    for values in (truncated.flatten(), truncated[plain.abs() > limit]):
        error = math.sqrt((fourth - second**2) / len(values))  # standard error of the mean of the squares
        assert abs(values.double().square().mean().item() - second) < 4 * error
        assert abs(values.double().mean().item()) < 4 * math.sqrt(second / len(values))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("latent_dim", [2, 3, 100])
def test_slerp_between_latents_of_equal_length_is_a_rotation(share: float, latent_dim: int) -> None:
    start, end = draw_latents(0, 2, latent_dim).double()
    end *= start.norm() / end.norm()
    across = end - (end @ start) / (start @ start) * start  # at a right angle to the start, in the plane of the two
    across *= start.norm() / across.norm()
    angle = torch.atan2(end @ across, end @ start).item()
    point = slerp(start, end, share)
    turned = math.cos(share * angle) * start + math.sin(share * angle) * across
    np.testing.assert_allclose(point.numpy(), turned.numpy(), atol=1e-12)
    assert point.norm().item() == pytest.approx(start.norm().item(), rel=1e-12)
    # The weights depend on the angle alone, and so are the same for a longer end.
    longer = point + 2 * math.sin(share * angle) / math.sin(angle) * end
    np.testing.assert_allclose(slerp(start, 3 * end, share).numpy(), longer.numpy(), atol=1e-12)
    assert slerp(start.float(), end.float(), share).dtype == torch.float32


def test_slerp_is_linear_if_the_circle_is_not_unique() -> None:
    latent, zero = draw_latents(0, 1, 20)[0], torch.zeros(20)
    for start, end in ((latent, latent), (latent, 2 * latent), (latent, -latent), (zero, latent), (zero, zero)):
        for share in (0.0, 0.25, 0.5, 1.0):
            assert torch.allclose(slerp(start, end, share), (1 - share) * start + share * end, atol=1e-6)
    for tiny in (1e-3, 1e-5, 1e-7):  # a small angle, and the formula divides by its sine
        end = latent + tiny * torch.eye(20)[0]
        assert torch.allclose(slerp(latent, end, 0.5), (latent + end) / 2, atol=1e-5)


@pytest.mark.parametrize(("stops", "frames"), [(2, 5), (4, 16), (3, 1)])
def test_a_path_goes_through_its_stops_and_closes(stops: int, frames: int) -> None:
    latents = draw_latents(0, stops, 12)
    latents *= latents[0].norm() / latents.norm(dim=1, keepdim=True)
    path = interpolate(latents, frames)
    assert path.shape == (stops * frames, 12)
    assert torch.equal(path[::frames], latents)
    np.testing.assert_allclose(path.norm(dim=1).numpy(), latents[0].norm().item(), rtol=1e-5)
    # All steps of a leg have the same angle, including the very last one, back to the first latent.
    around = torch.cat([path, path[:1]]).double()
    cosines = torch.nn.functional.cosine_similarity(around[:-1], around[1:])
    for leg, steps in enumerate(cosines.acos().view(stops, frames)):
        whole = torch.nn.functional.cosine_similarity(latents[leg], latents[(leg + 1) % stops], dim=0).acos().item()
        np.testing.assert_allclose(steps.numpy(), whole / frames, rtol=1e-4)


def test_sample_k_depends_only_on_the_seed_its_class_and_k() -> None:
    """Its bits are the same however many others are drawn, and whatever their classes."""
    generator, count = TinyGenerator(3), 2 * CHUNK + 5
    latents = draw_latents(3, count, 5)
    of_each = [draw(generator, latents, cycle([one], count)) for one in range(3)]
    for few in (1, 2, CHUNK - 1, CHUNK, CHUNK + 1):
        assert torch.equal(draw(generator, draw_latents(3, few, 5), cycle([1], few)), of_each[1][:few]), few
    for classes in ([0, 1, 2], [1, 1, 0, 2]):
        for index, image in enumerate(draw(generator, latents, cycle(classes, count))):
            assert torch.equal(image, of_each[classes[index % len(classes)]][index])
    assert len(torch.unique(torch.cat(of_each).flatten(1), dim=0)) == 3 * count
    assert not torch.equal(draw(generator, draw_latents(4, 5, 5), cycle([0], 5)), of_each[0][:5])


def test_chunks_are_padded() -> None:
    generator, seen = TinyGenerator(3), list[tuple[Tensor, Tensor]]()
    generator.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    latents, classes = draw_latents(0, CHUNK + 3, 5), cycle([2, 1], CHUNK + 3)
    chunks = list(render(generator, take_from(latents, classes)))
    assert [tuple(chunk.shape) for chunk in chunks] == [(64, 1, 9, 9), (3, 1, 9, 9)]
    assert [len(each) for each, _ in seen] == [len(each) for _, each in seen] == [CHUNK] * 2
    for index, given in enumerate((latents, classes)):
        assert given is not None
        assert torch.equal(torch.cat([arguments[index] for arguments in seen])[: CHUNK + 3], given)


class Points(Generator):
    latent_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        return self.scale * latents


def test_samples_may_have_any_shape_and_range() -> None:
    latents = draw_latents(0, CHUNK + 1, 2)
    points = draw(Points(), latents)
    assert points.dtype == torch.float32
    assert torch.equal(points, 3 * latents)
    assert not points.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_drawing_uses_eval_mode_and_float32_and_leaves_no_trace(training: bool) -> None:
    generator, latents = TinyGenerator(), draw_latents(0, 2 * CHUNK, 5)
    expected = draw(generator, latents)
    before, random = bits(generator), torch.get_rng_state()
    generator.train(training)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(draw(generator, latents), expected)
    chunks = render(generator, take_from(latents))
    next(chunks)
    chunks.close()  # type: ignore[attr-defined] # it is abandoned
    assert all(module.training is training for module in generator.modules())
    assert bits(generator) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_real_images_are_arranged_like_the_generated_ones() -> None:
    images = make_images(20, channels=3)
    assert torch.equal(arrange_real(images, None, None), make_grid(images))
    labels = torch.tensor([2] * 10 + [0] * 7 + [3] * 3)
    grid = arrange_real(images, labels, ("a", "b", "c", "d")).permute(1, 2, 0).numpy()
    cells = cut_cells(grid, labelled=8)
    assert cells.shape[0] == 4
    for row, first, count in ((0, 10, 7), (1, 0, 0), (2, 0, 8), (3, 17, 3)):
        assert np.array_equal(cells[row, :count], images[first : first + count].permute(0, 2, 3, 1).numpy())
        assert not cells[row, count:].any()
    many = arrange_real(images, labels, [str(number) for number in range(40)])
    assert many.shape[1] == 16 * 11 + 2


@pytest.mark.parametrize(("num_classes", "rows"), [(None, 8), (1, 1), (3, 3), (40, 16)])
def test_the_grid_of_a_run(num_classes: int | None, rows: int) -> None:
    """A square of 64 images, or a row of 8 for each class."""
    generator = TinyGenerator(num_classes, channels=3)
    cells = cut_cells(draw_grid(generator, 4).permute(1, 2, 0).numpy(), labelled=8 if num_classes else 0)
    assert cells.shape[:2] == (rows, 8)
    latents = draw_latents(4, rows * 8, 5)
    for row in range(rows):
        images = draw_bytes(generator, latents, None if num_classes is None else cycle([row], len(latents)))
        for column in range(8):
            index = row * 8 + column if num_classes is None else column * rows + row
            assert np.array_equal(cells[row, column], images[index].permute(1, 2, 0).numpy())
