"""Every random number of training, derived from (seed, purpose, position).

Nothing here remembers how far it has come, so a run that goes on from a checkpoint draws what the run that was
never stopped would have drawn, and whoever only looks cannot shift what training draws next.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch

Purpose = Literal[
    "network weights",  # position 0: the generator, 1: the critic
    "critic images",  # position: the epoch; the order of the real images in the critic's updates
    "generator images",  # the same for the generator's updates, where the loss or the classes ask for images there
    "critic flips",  # position: the critic update; which of its real images are mirrored
    "generator flips",  # position: the step
    "critic latents",  # position: the critic update
    "generator latents",  # position: the step
    "penalty epsilon",  # position: the critic update
    "critic dropout",  # position: the critic update
    "generator dropout",  # position: the step
    "sample latents",  # position: the number of the image in grids and samples
]


def derive(seed: int, purpose: Purpose, position: int) -> int:
    """Return a 63-bit seed for one purpose at one position, unrelated to that of any other."""
    text = f"{seed}/{purpose}/{position}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Streams:
    """The random streams of one seed, as generators on one device."""

    seed: int
    device: torch.device

    def at(self, purpose: Purpose, position: int) -> torch.Generator:
        """Return the stream for a purpose at its beginning for this position."""
        return torch.Generator(self.device).manual_seed(derive(self.seed, purpose, position))

    def seed_global(self, purpose: Purpose, position: int) -> None:
        """Seed torch's global stream, for layers that draw from nothing else (dropout, initialisation)."""
        torch.manual_seed(derive(self.seed, purpose, position))
