"""Every random number of training, derived from (seed, purpose, position).

Nothing here remembers earlier draws. A resumed run therefore draws what the uninterrupted run would have drawn,
and code that only looks, such as a grid, cannot change what training draws next.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch

Purpose = Literal[
    "network weights",  # position: 0 for the generator, 1 for the critic
    "critic images",  # position: the epoch; the order of the real samples in the critic's updates
    "generator images",  # the same for the generator's updates
    "critic flips",  # position: the critic update; which real images are mirrored
    "generator flips",  # position: the step
    "critic latents",  # position: the critic update
    "generator latents",  # position: the step
    "penalty epsilon",  # position: the critic update
    "critic dropout",  # position: the critic update
    "generator dropout",  # position: the step
    "sample latents",  # position: the number of the sample in grids and exported samples
]


def derive_seed(seed: int, purpose: Purpose, position: int) -> int:
    """Return a 63-bit seed for one purpose at one position, independent of all others."""
    text = f"{seed}/{purpose}/{position}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Streams:
    """The random streams of one seed, as generators on one device."""

    seed: int
    device: torch.device

    def at(self, purpose: Purpose, position: int) -> torch.Generator:
        """Return a fresh random stream for a purpose at a position."""
        return torch.Generator(self.device).manual_seed(derive_seed(self.seed, purpose, position))

    def seed_global(self, purpose: Purpose, position: int) -> None:
        """Seed torch's global stream, the only one that dropout and initialisation can draw from."""
        torch.manual_seed(derive_seed(self.seed, purpose, position))
