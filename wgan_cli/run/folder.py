"""The one folder of a run: what lies where in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wgan_cli.parameters import SettingError


@dataclass(frozen=True)
class RunFolder:
    """Names the places in a run's folder.

    Attributes:
        path: The folder; it need not exist yet.
    """

    path: Path

    @property
    def log(self) -> Path:
        """What the command said, with times."""
        return self.path / "wgan-train.log"

    @property
    def metrics(self) -> Path:
        """Losses by step; only what is reproducible."""
        return self.path / "metrics.csv"

    @property
    def timing(self) -> Path:
        """Times and rates by step."""
        return self.path / "timing.csv"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state."""
        return self.path / "checkpoints" / "last.pt"

    def epoch_checkpoint(self, epoch: int) -> Path:
        """Return where the state at the end of an epoch, counted from 1, is kept."""
        return self.path / "checkpoints" / f"epoch_{epoch:04d}.pt"

    def sample(self, name: str) -> Path:
        """Return where a grid is kept."""
        return self.path / "samples" / f"{name}.png"

    def epoch_samples(self) -> list[Path]:
        """Return the grids of the epochs, the first one first."""
        return sorted(self.sample("epoch").parent.glob("epoch_*.png"), key=lambda path: (len(path.name), path.name))

    @property
    def film(self) -> Path:
        """The same grids, one after the other."""
        return self.path / "samples" / "progress.gif"

    def create(self, config: Mapping[str, Any], overrides: Iterable[str]) -> None:
        """Make the folder and note in it what was asked for.

        Args:
            config: Every setting in force, as plain data.
            overrides: The words of the command line.

        Raises:
            SettingError: If there is a run in it already, or it cannot be made.
        """
        try:
            if self.last_checkpoint.parent.exists() or self.metrics.exists():
                allowed = f"holds a run already; resume={self.path} goes on with it"
                raise SettingError("hydra.run.dir", self.path, allowed)
            for part in (".hydra", "samples", "checkpoints"):
                (self.path / part).mkdir(parents=True, exist_ok=True)
            notes = {"config": dict(config), "overrides": list(overrides)}
            for name, content in notes.items():
                text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
                (self.path / ".hydra" / f"{name}.yaml").write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingError("hydra.run.dir", self.path, f"cannot be written to ({error.strerror})") from error
