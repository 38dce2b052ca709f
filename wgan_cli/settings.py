"""The typed top level of a run's settings, and where the YAML files lie. Importing this does not import torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from wgan_cli.parameters import Range, SettingError

_HERE = Path(__file__).resolve().parent
# Inside the package where it was installed from a wheel, beside it in a checkout or an editable install. Inside comes
# first: beside a wheel's package lies whatever else is installed.
CONF_DIR = next(path for path in (_HERE / "conf", _HERE.parent / "conf") if (path / "train.yaml").is_file())

Part = dict[str, Any]  # `name`, which chooses the part, and the part's own settings, which the part declares
AtLeastOne = Annotated[int, Range(1)]
Length = Annotated[int, Range(1, 10**9)]  # of a run; whatever is counted in one is then far below 2**63
Seed = Annotated[int, Range(0, 2**63 - 1)]


@dataclass(frozen=True)
class Every:
    """How often something is done."""

    every: AtLeastOne


@dataclass(frozen=True)
class CheckpointEvery(Every):
    """How often the state is saved, in epochs and in minutes, and how many of the epochs' files stay."""

    every_minutes: Annotated[float, Range(above=0)] | None
    keep: AtLeastOne | None


@dataclass(frozen=True)
class DatasetUse:
    """What every dataset can be told beside what its own part takes: how training uses the images."""

    flip: bool = False
    conditional: bool = False


@dataclass(frozen=True)
class CriticWarmup:
    """More critic updates in the first steps, and in every so many-th one after them."""

    updates: AtLeastOne
    steps: Annotated[int, Range(0)] = 0
    every: AtLeastOne | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``wgan-train`` can be told. ``conf/train.yaml`` says what each is for and gives the defaults."""

    epochs: Length
    max_steps: Length | None
    max_minutes: Annotated[float, Range(above=0)] | None
    batch_size: AtLeastOne
    generator_batch_size: AtLeastOne | None
    n_critic: AtLeastOne | None
    critic_warmup: CriticWarmup | None
    clip_value: Annotated[float, Range(above=0)] | None
    ema: bool
    device: str
    precision: Literal["auto", "fp32", "bf16"]
    deterministic: bool
    seed: Seed
    resume: str | None
    dry_run: bool
    log: Every
    sample: Every
    checkpoint: CheckpointEvery
    dataset: Part
    generator: Part
    critic: Part
    loss: Part
    constraint: Part
    optimizer: Part


def groups() -> list[str]:
    """Return the groups that have options, the recipes among them."""
    return [path.name for path in CONF_DIR.iterdir() if path.is_dir()]


# What is of this process alone, and kept in no checkpoint.
OF_THIS_PROCESS: dict[str, Any] = {"resume": None, "dry_run": False, "max_minutes": None}
# What the command line may change in a run that goes on; everything else is the checkpoint's.
CHANGEABLE = ("epochs", "max_steps", "max_minutes", "device", "precision", "log", "sample", "checkpoint", "dry_run")


def require_changeable(folder: str | Path, keys: Iterable[str]) -> None:
    """Refuse what a run that goes on has from its checkpoint.

    Args:
        folder: The run's, for messages.
        keys: What the command line sets.

    Raises:
        SettingError: If one of them must stay as it was.
    """
    for key in keys:
        if key.partition(".")[0] not in (*CHANGEABLE, "resume"):
            allowed = f"a run that goes on keeps its {key}; it may change {', '.join(CHANGEABLE)}"
            raise SettingError("resume", folder, allowed)


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """What ``wgan-sample`` can be told; ``conf/sample.yaml`` says what each is for."""

    checkpoint: str
    mode: Literal["grid", "images", "interpolation", "npz"]
    num_images: Annotated[int, Range(1, 10_000_000)] | None
    seed: Seed
    classes: tuple[Annotated[int, Range(0)], ...] | None
    truncation: Annotated[float, Range(0.01)] | None
    latents: str | None
    stops: Annotated[int, Range(2, 10_000)]
    export: Literal["onnx", "torchscript"] | None
    out: str | None
    device: str
