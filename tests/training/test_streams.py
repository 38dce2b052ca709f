from itertools import product
from typing import get_args

import pytest
import torch

from wgan_cli.training.streams import Purpose, Streams, derive_seed

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
CPU = torch.device("cpu")


def test_derived_seeds_are_distinct_and_fit_what_torch_takes() -> None:
    seeds = [0, 1, 2, 10, 11, 2**63 - 1]
    positions = [*range(200), 10**12]
    derived = {derive_seed(*key) for key in product(seeds, PURPOSES, positions)}
    assert len(derived) == len(seeds) * len(PURPOSES) * len(positions)
    assert all(0 <= seed < 2**63 for seed in derived)
    torch.Generator().manual_seed(max(derived))
    assert max(derived) >= 2**62  # all 63 bits are used


def test_derived_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    """A checkpoint may be resumed on another day with another Python: these numbers are part of its format."""
    assert derive_seed(0, "critic latents", 0) == 6797097199582174754
    assert derive_seed(0, "critic images", 1) == 3661340763116911445
    assert derive_seed(2**63 - 1, "sample latents", 10**6) == 3879159828634753329


@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_stream_is_fresh_and_has_its_derived_seed(purpose: Purpose) -> None:
    expected = torch.randn(16, generator=torch.Generator().manual_seed(derive_seed(5, purpose, 3)))
    streams = Streams(5, CPU)
    for _ in range(2):
        assert torch.equal(torch.randn(16, generator=streams.at(purpose, 3)), expected)
    assert not torch.equal(torch.randn(16, generator=streams.at(purpose, 4)), expected)


def test_neighbouring_positions_are_independent_normals() -> None:
    """Latents as training draws them, one stream an update: there is no structure across positions."""
    streams = Streams(0, CPU)
    latents = torch.stack([torch.randn(8, generator=streams.at("critic latents", n)) for n in range(2000)])
    # Means of n = 2000 draws are N(0, 1/n) and variances N(1, 2/n): bounds of five standard deviations.
    assert latents.mean(0).abs().max() < 5 / 2000**0.5
    assert (latents.var(0) - 1).abs().max() < 5 * (2 / 2000) ** 0.5
    neighbours = (latents[1:] * latents[:-1]).mean(0)
    assert neighbours.abs().max() < 5 / 1999**0.5
    others = torch.stack([torch.randn(8, generator=streams.at("generator latents", n)) for n in range(2000)])
    assert (latents * others).mean(0).abs().max() < 5 / 2000**0.5


def test_only_seed_global_changes_the_global_stream() -> None:
    streams, before = Streams(0, CPU), torch.get_rng_state()
    torch.randn(3, generator=streams.at("penalty epsilon", 0))
    assert torch.equal(torch.get_rng_state(), before)
    for purpose in ("critic dropout", "generator dropout"):
        streams.seed_global(purpose, 7)
        assert torch.equal(torch.randn(3), torch.randn(3, generator=streams.at(purpose, 7)))
