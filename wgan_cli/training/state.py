"""Everything that training changes, and therefore everything that a checkpoint must store."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wgan_cli.networks.players import Generator, mixes_samples
from wgan_cli.training.schedule import Position


class RunningMeans:
    """Means of scalars since the last reset. The sums stay on the device, so that adding never waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, **values: Tensor) -> None:
        """Add a value to each named mean; a value is a scalar tensor on any device."""
        for name, value in values.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the mean of each name that was added since the reset."""
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}

    def reset(self) -> None:
        """Forget all values."""
        self.sums.clear()
        self.counts.clear()


@dataclass
class TrainingState:
    """The two players, their optimizers, and how far training has come.

    Attributes:
        generator: Maps latents to samples.
        critic: Maps samples to scores.
        generator_optimizer: Holds the generator's parameters.
        critic_optimizer: Holds the critic's.
        ema: The average of the generator, or None.
        position: How far training has come.
        rows: Rows of metrics written so far.
        means: Of losses and scores since the last row.
        failed_step: int64 scalar on the device: the first step in which a loss or a gradient was not finite, or -1.
            From then on no update changes a weight. Such a state is never saved.
        critic_mixes_samples: Whether the critic's scores depend on the whole batch.
    """

    generator: Generator
    critic: nn.Module
    generator_optimizer: Optimizer
    critic_optimizer: Optimizer
    ema: Generator | None = None
    position: Position = field(default_factory=Position)
    rows: int = 0
    means: RunningMeans = field(default_factory=RunningMeans)
    failed_step: Tensor = field(init=False)
    critic_mixes_samples: bool = field(init=False)

    def __post_init__(self) -> None:
        self.failed_step = torch.tensor(-1, device=self.device)
        self.critic_mixes_samples = mixes_samples(self.critic)

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(self.critic.parameters()).device

    @property
    def sampler(self) -> Generator:
        """The generator that grids and samples are drawn from."""
        return self.generator if self.ema is None else self.ema

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name: ``generator.first.weight``, ``critic_optimizer.first.weight.exp_avg``, ..."""
        found: dict[str, Tensor] = {}
        for player, network in self._networks().items():
            found |= {f"{player}.{name}": tensor for name, tensor in network.state_dict().items()}
        for player, network, optimizer in self._optimizers():
            for name, parameter in network.named_parameters():
                slots = optimizer.state.get(parameter, {})
                found |= {f"{player}_optimizer.{name}.{slot}": value for slot, value in slots.items()}
        return found | {f"means.{name}": total for name, total in self.means.sums.items()}

    def counts(self) -> dict[str, Any]:
        """Return all numbers that are not tensors."""
        return {**asdict(self.position), "rows": self.rows, "means": dict(self.means.counts)}

    def load(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """Continue from what :meth:`tensors` and :meth:`counts` returned, on any device.

        Raises:
            ValueError: If a tensor is missing, unknown, or of another shape or type, or if a count is impossible.
        """
        position = Position(**{name: require_count(counts, name) for name in asdict(Position())})
        rows = require_count(counts, "rows")
        if rows > position.step:
            raise ValueError(f"{rows:,} rows of metrics after {position.step:,} steps")
        unused = dict(tensors)
        for player, network in self._networks().items():
            load_weights(network, take(unused, f"{player}."))
        updates = {"generator": position.step, "critic": position.critic_updates}
        for player, network, optimizer in self._optimizers():
            _load_slots(optimizer, network, take(unused, f"{player}_optimizer."), updates[player])
        sums = take(unused, "means.")
        if unused or sums.keys() != counts["means"].keys():
            raise ValueError(f"unknown tensors or means: {', '.join([*unused, *sums, *counts['means']][:3])}")
        for name, total in sums.items():
            require_like(total, torch.zeros((), dtype=torch.float64), f"means.{name}")
        self.means.sums = {name: total.to(self.device) for name, total in sums.items()}
        self.means.counts = {name: require_count(counts["means"], name, at_least=1) for name in sums}
        self.position, self.rows = position, rows

    def _networks(self) -> dict[str, nn.Module]:
        networks = {"generator": self.generator, "critic": self.critic, "ema": self.ema}
        return {name: network for name, network in networks.items() if network is not None}

    def _optimizers(self) -> list[tuple[str, nn.Module, Optimizer]]:
        return [
            ("generator", self.generator, self.generator_optimizer),
            ("critic", self.critic, self.critic_optimizer),
        ]


def take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors whose names start with a prefix, and return them without it."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


def find_slots(optimizer: Optimizer) -> dict[str, bool]:
    """Find out what an optimizer stores for each parameter, by letting one of its kind take a step.

    Returns:
        Names, and whether there is one number for the whole parameter rather than one for each of its values.
    """
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    probe = type(optimizer)([parameter], **optimizer.defaults)
    probe.step()
    return {name: not value.dim() for name, value in probe.state[parameter].items() if isinstance(value, Tensor)}


def _load_slots(optimizer: Optimizer, network: nn.Module, saved: dict[str, Tensor], updates: int) -> None:
    """Load what an optimizer stores for its parameters: all slots of a parameter, or none if it never changed it.

    A slot gets the memory layout of its parameter, as the optimizer itself would have made it: fused kernels rely on
    that.

    Raises:
        ValueError: If a slot is missing, unknown, or of another shape or type, or if the optimizer made updates and
            has no slots, or the reverse.
    """
    expected = find_slots(optimizer)
    unused, state = dict(saved), {}
    for index, (name, parameter) in enumerate(network.named_parameters()):
        found = {slot: unused.pop(f"{name}.{slot}") for slot in expected if f"{name}.{slot}" in unused}
        if found and found.keys() != expected.keys():
            raise ValueError(f"the optimizer stores only {', '.join(found)} for {name}")
        for slot, value in found.items():
            like = torch.zeros(()) if expected[slot] else torch.empty_like(parameter, requires_grad=False)
            require_like(value, like, f"{name}.{slot}")
            found[slot] = like.copy_(value)
        if found:
            state[index] = found
    if unused:
        raise ValueError(f"unknown optimizer tensors: {', '.join(sorted(unused)[:3])}")
    if bool(state) != bool(expected and updates):
        raise ValueError(f"the optimizer has tensors for {len(state)} parameters after {updates:,} updates")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_weights(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy saved weights into a network.

    Raises:
        ValueError: If they belong to another network.
    """
    require_weights(network, saved)
    network.load_state_dict(saved)


def require_weights(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Compare saved weights with those of a network, which may be on the meta device, by name, shape and type.

    Raises:
        ValueError: If they differ.
    """
    expected = network.state_dict()
    if saved.keys() != expected.keys():
        raise ValueError(f"its weights are of another network: {', '.join(sorted(saved.keys() ^ expected.keys())[:3])}")
    for name, weight in saved.items():
        require_like(weight, expected[name], name)


def require_like(value: Tensor, expected: Tensor, name: str) -> None:
    """Compare a saved tensor with one of the required shape and type.

    Raises:
        ValueError: If they differ.
    """
    if (value.shape, value.dtype) != (expected.shape, expected.dtype):
        found = f"{value.dtype} {tuple(value.shape)}"
        raise ValueError(f"{name} is {found} but must be {expected.dtype} {tuple(expected.shape)}")


def require_count(counts: Mapping[str, Any], name: str, at_least: int = 0) -> int:
    """Return a count.

    Raises:
        ValueError: If it is missing or not a whole number from ``at_least`` to 2⁵³.
    """
    value = counts.get(name)
    if type(value) is not int or not at_least <= value < 2**53:
        raise ValueError(f"{name} must be a whole number from {at_least} to 2⁵³")
    return value
