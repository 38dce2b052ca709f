"""Small objects to train with, always the same. They take milliseconds to build."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data.batches import Batches
from wgan_cli.data.dataset import DataSpec
from wgan_cli.losses import LOSSES
from wgan_cli.networks import CRITICS, GENERATORS
from wgan_cli.optimizers import OPTIMIZERS
from wgan_cli.parameters import bind
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import Checkpoint, save_checkpoint
from wgan_cli.run.session import Run
from wgan_cli.settings import Settings, select_storable
from wgan_cli.training.ema import copy_for_average
from wgan_cli.training.loop import Algorithm, train
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState
from wgan_cli.training.streams import Streams

# Four epochs of 100 critic updates, five for each step, with a checkpoint after the third and the last.
CADENCE = Cadence(4, None, 100, CriticSchedule(5), log_every=1, sample_every=1, checkpoint_every=3)
CPU = torch.device("cpu")
SIZE = 12  # the smallest at which DCGAN's critic has a layer that is neither its first nor its last
LATENT_DIM = 3


def uint8_images(count: int, channels: int = 1, size: int = SIZE) -> Tensor:
    """Noise, always the same."""
    random = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=random)


def make_algorithm(
    loss: str = "wasserstein",
    constraint: str = "clip",
    n_critic: int = 2,
    batch_size: int = 4,
    labels: Tensor | None = None,
    images: Tensor | None = None,
    seed: int = 11,
    **replaced: Any,
) -> Algorithm:
    """An algorithm for 14 small images, three batches an epoch, unless other parts replace them."""
    streams = Streams(seed, CPU)
    data = uint8_images(14) if images is None else images
    batches = partial(Batches, data, batch_size, CPU, labels=labels)
    needs_real = LOSSES[loss].generator_needs_real
    parts: dict[str, Any] = {
        "loss": LOSSES[loss](),
        "constraint": CONSTRAINTS[constraint](),
        "schedule": CriticSchedule(n_critic),
        "rate": lambda _: 1.0,
        "batches": batches(partial(streams.at, "critic images")),
        "generator_batches": batches(partial(streams.at, "generator images"), with_samples=needs_real),
        "generator_batch_size": batch_size,
        "streams": streams,
        "autocast": nullcontext,
        "ema_decay": 0.999,
    }
    return Algorithm(**{**parts, **replaced})


def build_network(part: Callable[..., Any], shape: tuple[int, ...], num_classes: int | None = None, **own: Any) -> Any:
    """Build a network for samples of a shape, with the arguments that it takes."""
    supplied = {"sample_shape": shape, "channels": shape[0], "image_size": shape[-1], "num_classes": num_classes}
    taken = inspect.signature(part).parameters
    return part(**{name: value for name, value in supplied.items() if name in taken}, **own)


class DropoutCritic(nn.Module):
    """A small critic with dropout, which can only draw from the global random stream."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(SIZE * SIZE, 6), nn.Linear(6, 1)

    def forward(self, samples: Tensor, classes: None = None) -> Tensor:
        hidden = F.leaky_relu(self.first(samples.flatten(1)), 0.2)
        scores: Tensor = self.last(F.dropout(hidden, 0.5, self.training)).flatten()
        return scores


def make_state(
    networks: str = "mlp",  # of both players
    optimizer: str = "rmsprop",
    constraint: str = "clip",
    ema: bool = False,
    seed: int = 0,
    learning_rate: float = 0.01,  # large, so that few updates change much
    eps: float = 1e-8,
    critic: nn.Module | None = None,  # replaces the usual one
    num_classes: int | None = None,
    schedule: str = "constant",
    max_norm: float | None = None,
    **normalization: str,
) -> TrainingState:
    """Two small networks and their optimizers, with the normalization of each player; an mlp has none by default."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"width": 2} if networks == "dcgan" else {"hidden_sizes": (6, 5)}
    usual: dict[str, str] = {"generator_normalization": "none"} if networks == "mlp" else {}

    def build(player: str, part: Callable[..., Any], **own: Any) -> Any:
        chosen = {**usual, **normalization}.get(f"{player}_normalization")
        own |= {} if chosen is None else {"normalization": chosen}
        return build_network(part, (1, SIZE, SIZE), num_classes, **sizes, **own)

    generator = build("generator", GENERATORS[networks], latent_dim=LATENT_DIM)
    critic = CONSTRAINTS[constraint]().wrap(build("critic", CRITICS[networks]) if critic is None else critic)
    rates: dict[str, Any] = {"learning_rate": learning_rate, "critic_learning_rate": None}
    rates |= {"eps": eps, "schedule": schedule, "max_norm": max_norm}
    if optimizer == "adam":
        rates["betas"] = (0.5, 0.999)
    optimizers = OPTIMIZERS[optimizer](generator, critic, **rates)
    average = copy_for_average(generator) if ema else None
    return TrainingState(generator, critic, optimizers.generator, optimizers.critic, average)


def updates(count: int, look: Callable[[TrainingState], None] | None = None) -> Callable[[TrainingState], bool]:
    """Return an ``after_update`` that stops after ``count`` updates of either player, looking after each."""
    left = count

    def after_update(state: TrainingState) -> bool:
        nonlocal left
        left -= 1
        if look is not None:
            look(state)
        return left <= 0

    return after_update


def train_for(state: TrainingState, algorithm: Algorithm, count: int) -> TrainingState:
    """Train for so many updates of either player, and return the state."""
    if count:
        train(state, algorithm, updates(count))
    return state


def bits(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested state into paths and exact bytes: NaN equals itself, and −0 does not equal 0."""
    if isinstance(value, nn.Module):
        return bits(dict(value.state_dict()), path)
    if isinstance(value, TrainingState):
        return bits({**value.tensors(), **value.counts()}, path)
    if isinstance(value, Tensor):
        return {path: (value.dtype, tuple(value.shape), value.detach().contiguous().numpy().tobytes())}
    if isinstance(value, dict):
        return {name: leaf for key, part in value.items() for name, leaf in bits(part, f"{path}/{key}").items()}
    if isinstance(value, list | tuple):
        return bits(dict(enumerate(value)), path)
    return {path: value}


def weights(network: nn.Module) -> dict[str, Any]:
    """The exact bytes of a network's parameters, without its buffers."""
    return bits(dict(network.named_parameters()))


# The settings of a small run.
PLAIN: dict[str, Any] = {
    "epochs": 2, "max_steps": None, "max_minutes": None, "batch_size": 4, "n_critic": 1, "clip_value": None,
    "generator_batch_size": None, "critic_warmup": None,
    "ema": {"decay": 0.999}, "device": "cpu", "precision": "fp32", "seed": 5,
    "out": None, "resume": None, "dry_run": False, "plugins": [],
    "log": {"every": 1}, "sample": {"every": 1}, "deterministic": False,
    "checkpoint": {"every": 1, "every_minutes": None, "keep": None},
    "dataset": {"name": "glyphs", "image_size": 12, "channels": 3, "limit": 14},
    "generator": {"name": "mlp", "latent_dim": 3, "hidden_sizes": [6, 5], "normalization": "batch"},
    "critic": {"name": "mlp", "hidden_sizes": [6, 5]},
    "loss": {"name": "wasserstein"},
    "constraint": {"name": "clip", "clip_value": 0.2},
    "optimizer": {"name": "rmsprop", "learning_rate": 0.01, "critic_learning_rate": None},
}  # fmt: skip


def settings(**changed: Any) -> Settings:
    return bind(Settings, {**PLAIN, **changed})


def make_checkpoint(run: Run) -> Checkpoint:
    return Checkpoint(select_storable(run.settings), run.data, run.state.counts(), run.state.tensors())


def save_run(run: Run, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, make_checkpoint(run))
    return path


def data_spec(channels: int = 1, size: int = SIZE, num_classes: int | None = None) -> DataSpec:
    class_names = None if num_classes is None else tuple(f"c{number}" for number in range(num_classes))
    return DataSpec((channels, size, size), class_names, count=14, fingerprint="14 images of noise")
