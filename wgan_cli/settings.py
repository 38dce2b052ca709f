"""The typed top level of the settings, and the location of the YAML files. Importing this does not import torch."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from wgan_cli.errors import SettingError
from wgan_cli.parameters import Range

_HERE = Path(__file__).resolve().parent
# Inside the package in a wheel, beside it in a checkout. Look inside first: other packages lie
# beside an installed one.
CONF_DIR = next(path for path in (_HERE / "conf", _HERE.parent / "conf") if (path / "train.yaml").is_file())

GROUPS = ("dataset", "generator", "critic", "loss", "constraint", "optimizer", "experiment")  # each has options
Part = dict[str, Any]  # ``name``, which chooses the part, and the settings that the part declares
Count = Annotated[int, Range(1, 10**9)]  # so that every number in a run stays far below 2**63
Seed = Annotated[int, Range(0, 2**63 - 1)]


@dataclass(frozen=True)
class Every:
    """An interval, in steps or in epochs."""

    every: Count


@dataclass(frozen=True)
class CheckpointEvery(Every):
    """How often the state is saved, in epochs and in minutes, and how many of the epochs' files are kept."""

    every_minutes: Annotated[float, Range(above=0)] | None
    keep: Count | None


@dataclass(frozen=True)
class DatasetUse:
    """How training uses the samples: the settings that all datasets share."""

    flip: bool = False
    conditional: bool = False


@dataclass(frozen=True)
class Average:
    """The moving average of the generator's weights, from which images are drawn."""

    decay: Annotated[float, Range(0, below=1)]


@dataclass(frozen=True)
class CriticWarmup:
    """More critic updates in the first steps, and at regular intervals after them."""

    updates: Count
    steps: Annotated[int, Range(0)] = 0
    every: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of ``wgan-train``. ``conf/train.yaml`` explains them and gives the defaults."""

    epochs: Count | None
    max_steps: Count | None
    max_minutes: Annotated[float, Range(above=0)] | None
    batch_size: Count
    generator_batch_size: Count | None
    n_critic: Count
    critic_warmup: CriticWarmup | None
    clip_value: Annotated[float, Range(above=0)] | None
    ema: Average | None
    device: str
    precision: Literal["auto", "fp32", "bf16"]
    deterministic: bool
    seed: Seed
    out: str | None
    resume: str | None
    dry_run: bool
    plugins: tuple[str, ...]
    log: Every
    sample: Every
    checkpoint: CheckpointEvery
    dataset: Part
    generator: Part
    critic: Part
    loss: Part
    constraint: Part
    optimizer: Part


EPOCHS = 8  # if neither epochs nor another limit is given

# Settings of the process, which a checkpoint does not store.
OF_THIS_PROCESS: dict[str, Any] = {"out": None, "resume": None, "dry_run": False, "max_minutes": None}


def select_storable(settings: Settings) -> dict[str, Any]:
    """Return the settings that a checkpoint stores, as plain data."""
    return {**asdict(replace(settings, **OF_THIS_PROCESS)), "plugins": list(settings.plugins)}


# Settings that the command line may change in a resumed run. All others come from the checkpoint.
CHANGEABLE = (
    *("epochs", "max_steps", "max_minutes", "device", "precision", "log", "sample", "checkpoint", "dry_run"),
    "plugins",  # never from a checkpoint: they are executed
    "dataset.root",  # the images may have moved; their fingerprint is compared
)


def require_changeable(folder: str | Path, keys: Iterable[str]) -> None:
    """Reject settings that a resumed run may not change.

    Args:
        folder: The run's folder, for messages.
        keys: The settings on the command line.

    Raises:
        SettingError: If one of them may not change.
    """
    for key in keys:
        if not {key, key.partition(".")[0]} & {*CHANGEABLE, "resume"}:
            allowed = f"a resumed run cannot change {key}; it can change {', '.join(CHANGEABLE)}"
            raise SettingError("resume", folder, allowed)


def list_memory_settings(settings: Settings) -> str:
    """List the settings that decide how much memory a run takes, with their values."""

    def found() -> Iterator[str]:
        yield f"batch_size={settings.batch_size}"
        if settings.generator_batch_size is not None:
            yield f"generator_batch_size={settings.generator_batch_size}"
        for key, part in (("generator", settings.generator), ("critic", settings.critic)):
            yield from (f"{key}.{size}={part[size]}" for size in ("width", "hidden_sizes") if size in part)
        for key in ("image_size", "limit"):
            if key in settings.dataset:
                yield f"dataset.{key}={settings.dataset[key] or 'null'}"

    return ", ".join(found())


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """The settings of ``wgan-sample``. ``conf/sample.yaml`` explains them and gives the defaults."""

    checkpoint: str
    mode: Literal["grid", "images", "interpolation", "npz"]
    num_images: Count | None
    seed: Seed
    classes: tuple[int | str, ...] | None
    truncation: Annotated[float, Range(0.01)] | None
    latents: str | None
    stops: Annotated[int, Range(2, 10_000)]
    export: Literal["onnx", "torchscript"] | None
    out: str | None
    device: str
    plugins: tuple[str, ...]
