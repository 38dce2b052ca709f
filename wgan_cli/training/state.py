"""Everything that training changes, and so everything that a checkpoint must hold of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wgan_cli.players import Generator


class RunningMeans:
    """Means of scalars since the last reset, summed where the scalars live: adding never waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, **values: Tensor) -> None:
        """Count one more value of each name; a value is a scalar on any device, its graph is not kept."""
        for name, value in values.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the mean of each name that was added since the reset."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forget all."""
        self._sums.clear()
        self._counts.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counts as plain data."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, saved: Mapping[str, Any], device: torch.device) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._sums = {name: total.to(device) for name, total in saved["sums"].items()}
        self._counts = dict(saved["counts"])


@dataclass
class TrainingState:
    """The two players, their optimizers, and how far they have come.

    Attributes:
        generator: Maps latents to images.
        critic: Maps images to scores.
        generator_optimizer: Holds the generator's parameters.
        critic_optimizer: Holds the critic's.
        ema: The average of the generator, or None.
        step: Generator updates so far.
        critic_updates: Critic updates so far; also the position in the real images.
        critic_updates_in_step: Critic updates since the last generator update. It carries over from epoch to epoch.
        means: Of losses and scores since the last row of metrics.
        rows: Regular rows of metrics written so far.
        failed_step: int64 scalar on the device: the first step in which a loss or a gradient was not finite, or -1.
            From then on no update changes a weight. Such a state is never saved.
    """

    generator: Generator
    critic: nn.Module
    generator_optimizer: Optimizer
    critic_optimizer: Optimizer
    ema: Generator | None = None
    step: int = 0
    critic_updates: int = 0
    critic_updates_in_step: int = 0
    means: RunningMeans = field(default_factory=RunningMeans)
    rows: int = 0
    failed_step: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.failed_step = torch.tensor(-1, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return next(self.critic.parameters()).device

    @property
    def sampler(self) -> Generator:
        """The generator that grids and samples are drawn from."""
        return self.generator if self.ema is None else self.ema

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as tensors, numbers and names."""
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "step": self.step,
            "critic_updates": self.critic_updates,
            "critic_updates_in_step": self.critic_updates_in_step,
            "means": self.means.state_dict(),
            "rows": self.rows,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, on whatever device it was.

        Raises:
            KeyError: If a part is missing.
            RuntimeError, ValueError: If a network or an optimizer is of another shape, or a count is none.
        """
        for name in ("step", "critic_updates", "critic_updates_in_step", "rows"):
            if type(saved[name]) is not int or saved[name] < 0:
                raise ValueError(f"{name} must be a whole number of at least 0, not {saved[name]}")
        self.generator.load_state_dict(saved["generator"])
        self.critic.load_state_dict(saved["critic"])
        self.generator_optimizer.load_state_dict(saved["generator_optimizer"])
        self.critic_optimizer.load_state_dict(saved["critic_optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(saved["ema"])
        self.step = saved["step"]
        self.critic_updates = saved["critic_updates"]
        self.critic_updates_in_step = saved["critic_updates_in_step"]
        self.means.load_state_dict(saved["means"], self.device)
        self.rows = saved["rows"]
