"""Everything that training changes, and so everything that a checkpoint must hold of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wgan_cli.players import Generator

# What running means are kept of.
MEANS = ("critic_loss", "penalty", "generator_loss", "wasserstein_estimate")


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
        """Take over what :meth:`state_dict` returned.

        Raises:
            ValueError: If it is not sums and counts of the quantities in ``MEANS``.
        """
        sums, counts = saved["sums"], saved["counts"]
        if sums.keys() != counts.keys() or not sums.keys() <= set(MEANS):
            raise ValueError(f"sums of {', '.join(map(str, sums))} and counts of {', '.join(map(str, counts))}")
        for name in sums:
            require_like(sums[name], torch.zeros((), dtype=torch.float64), f"sum of {name}")
            require_count(counts[name], f"count of {name}", at_least=1)
        self._sums = {name: total.to(device) for name, total in sums.items()}
        self._counts = dict(counts)


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
            # What they remember, and not what they were told: that is the run's settings.
            "generator_optimizer": _memory(self.generator_optimizer),
            "critic_optimizer": _memory(self.critic_optimizer),
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
            ValueError: If a part is of another shape or type, or a count is none.
            AttributeError, TypeError: If a part is something else altogether.
        """
        for name in ("step", "critic_updates", "critic_updates_in_step", "rows"):
            require_count(saved[name], name)
        for name in ("generator", "critic", *(["ema"] if self.ema is not None else [])):
            network: nn.Module = getattr(self, name)
            require_weights(network, saved[name])
            network.load_state_dict(saved[name])
        if saved["rows"] > saved["step"]:
            raise ValueError(f"{saved['rows']:,} rows of metrics after {saved['step']:,} steps")
        for name in ("generator_optimizer", "critic_optimizer"):
            _load_memory(getattr(self, name), saved[name])
        self.step = saved["step"]
        self.critic_updates = saved["critic_updates"]
        self.critic_updates_in_step = saved["critic_updates_in_step"]
        self.means.load_state_dict(saved["means"], self.device)
        self.rows = saved["rows"]


def slots(optimizer: Optimizer) -> dict[str, bool]:
    """Return what an optimizer remembers of each parameter, by letting one of its kind take a step.

    Returns:
        Names, and whether it is one number for the whole parameter, or else one for each of its values.
    """
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    probe = type(optimizer)([parameter], **optimizer.defaults)
    probe.step()
    return {name: not value.dim() for name, value in probe.state[parameter].items() if isinstance(value, Tensor)}


def _memory(optimizer: Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return what an optimizer remembers of each of its parameters; of one that it never changed, nothing."""
    remembered = optimizer.state_dict()["state"]
    return {index: remembered.get(index, {}) for index in range(len(_parameters(optimizer)))}


def _load_memory(optimizer: Optimizer, saved: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Take over what :func:`_memory` returned."""
    parameters, names = _parameters(optimizer), slots(optimizer)
    if list(saved) != list(range(len(parameters))):
        raise ValueError(f"an optimizer remembers {len(saved)} parameters, and there are {len(parameters)}")
    for index, remembered in saved.items():
        if remembered and remembered.keys() != names.keys():
            raise ValueError(f"an optimizer's memory of parameter {index} is not that of this optimizer")
        for name, value in remembered.items():
            like = torch.zeros(()) if names[name] else parameters[index]
            require_like(value, like, f"an optimizer's {name} of parameter {index}")
    remembered_ones = {index: remembered for index, remembered in saved.items() if remembered}
    optimizer.load_state_dict({"state": remembered_ones, "param_groups": optimizer.state_dict()["param_groups"]})


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def require_weights(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Compare saved weights with those of a network, which may be on the meta device, by name, shape and type.

    Raises:
        ValueError: If they differ.
    """
    expected = network.state_dict()
    if saved.keys() != expected.keys():
        differing = sorted(map(str, saved.keys() ^ expected.keys()))
        raise ValueError(f"its weights are of another network: {', '.join(differing[:3])}")
    for name, weight in saved.items():
        require_like(weight, expected[name], name)


def require_like(value: object, expected: Tensor, name: str) -> None:
    """Compare a saved value with a tensor of the shape and type that it must have.

    Raises:
        ValueError: If they differ.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is no tensor")
    if (value.shape, value.dtype) != (expected.shape, expected.dtype):
        found = f"{value.dtype} {tuple(value.shape)}"
        raise ValueError(f"{name} is {found} and must be {expected.dtype} {tuple(expected.shape)}")


def require_count(value: object, name: str, at_least: int = 0) -> None:
    """Refuse what is no count.

    Raises:
        ValueError: If it is no whole number of at least this, or one that nobody will reach.
    """
    if type(value) is not int or not at_least <= value < 2**53:
        raise ValueError(f"{name} must be a whole number from {at_least} to 2⁵³")
