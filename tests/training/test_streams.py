from itertools import product
from typing import get_args

import pytest
import torch

from wgan_cli.training.streams import Purpose, Streams, derive

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
CPU = torch.device("cpu")


def test_derived_seeds_are_distinct_across_seed_purpose_and_position() -> None:
    seeds = [0, 1, 2, 10, 11, 2**63 - 1]
    derived = {derive(*key) for key in product(seeds, PURPOSES, range(200))}
    assert len(derived) == len(seeds) * len(PURPOSES) * 200


def test_derived_seeds_fit_what_torch_takes() -> None:
    derived = [derive(seed, purpose, 10**12) for seed in (0, 2**63 - 1) for purpose in PURPOSES]
    assert all(0 <= seed < 2**63 for seed in derived)
    for seed in derived:
        torch.Generator().manual_seed(seed)
    assert max(derived) >= 2**60  # and use the room: all of 18 below an eighth has odds of 8⁻¹⁸


def test_derived_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    """A checkpoint resumes on another day, with another Python: these numbers are part of its format."""
    assert derive(0, "critic latents", 0) == 6797097199582174754
    assert derive(0, "critic images", 1) == 3661340763116911445
    assert derive(2**63 - 1, "sample latents", 10**6) == 3879159828634753329


@pytest.mark.parametrize("purpose", PURPOSES)
def test_streams_are_reproducible_and_remember_nothing(purpose: Purpose) -> None:
    streams = Streams(5, CPU)
    first = torch.randn(16, generator=streams.at(purpose, 3))
    torch.randn(100, generator=streams.at(purpose, 3))
    torch.randn(100, generator=streams.at(purpose, 4))
    assert torch.equal(torch.randn(16, generator=streams.at(purpose, 3)), first)
    assert torch.equal(torch.randn(16, generator=Streams(5, CPU).at(purpose, 3)), first)


def test_streams_differ_by_seed_purpose_and_position() -> None:
    draws = {
        tuple(torch.randn(4, generator=Streams(seed, CPU).at(purpose, position)).tolist())
        for seed, purpose, position in product(range(3), PURPOSES, range(5))
    }
    assert len(draws) == 3 * len(PURPOSES) * 5


def test_neighbouring_positions_are_independent_normals() -> None:
    """Latents as training draws them, one stream an update: no structure across positions."""
    streams = Streams(0, CPU)
    latents = torch.stack([torch.randn(8, generator=streams.at("critic latents", n)) for n in range(2000)])
    # Means of n = 2000 draws are N(0, 1/n) and variances N(1, 2/n): bounds of five standard deviations.
    assert latents.mean(0).abs().max() < 5 / 2000**0.5
    assert (latents.var(0) - 1).abs().max() < 5 * (2 / 2000) ** 0.5
    neighbours = (latents[1:] * latents[:-1]).mean(0)
    assert neighbours.abs().max() < 5 / 1999**0.5
    others = torch.stack([torch.randn(8, generator=streams.at("generator latents", n)) for n in range(2000)])
    assert (latents * others).mean(0).abs().max() < 5 / 2000**0.5


def test_at_leaves_the_global_stream_alone_and_seed_global_sets_it() -> None:
    streams, before = Streams(0, CPU), torch.get_rng_state()
    torch.randn(3, generator=streams.at("penalty epsilon", 0))
    assert torch.equal(torch.get_rng_state(), before)
    streams.seed_global("critic dropout", 7)
    first = torch.randn(3)
    streams.seed_global("generator dropout", 7)
    other = torch.randn(3)
    streams.seed_global("critic dropout", 7)
    assert torch.equal(torch.randn(3), first)
    assert not torch.equal(first, other)
    assert torch.equal(first, torch.randn(3, generator=streams.at("critic dropout", 7)))
