"""The one folder of a run: what lies where in it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from wgan_cli.files import PARTIAL
from wgan_cli.parameters import SettingError, typed


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
    def lock(self) -> Path:
        """The file that a process holds a lock on while it writes here."""
        return self.path / ".lock"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state."""
        return self.path / "checkpoints" / "last.pt"

    def epoch_checkpoint(self, epoch: int) -> Path:
        """Return where the state at the end of an epoch, counted from 1, is kept."""
        return self.path / "checkpoints" / f"epoch_{epoch:04d}.pt"

    def checkpoints(self) -> list[Path]:
        """Return all that there are: the last, and then those of the epochs, the newest first."""
        return [path for path in (self.last_checkpoint, *self.epoch_checkpoints()) if path.exists()]

    def epoch_checkpoints(self) -> list[Path]:
        """Return the checkpoints of the epochs, the newest first."""
        return _numbered(self.last_checkpoint.parent, "epoch_*.pt")[::-1]

    def sample(self, name: str) -> Path:
        """Return where a grid is kept."""
        return self.path / "samples" / f"{name}.png"

    def epoch_samples(self) -> list[Path]:
        """Return the grids of the epochs, the first one first."""
        return _numbered(self.sample("epoch").parent, "epoch_*.png")

    @property
    def film(self) -> Path:
        """The same grids, one after the other."""
        return self.path / "samples" / "progress.gif"

    @contextmanager
    def begun(self, config: Mapping[str, Any], overrides: Iterable[str]) -> Iterator[None]:
        """Make the folder, note in it what was asked for, and keep other processes out while the context lasts.

        Args:
            config: Every setting in force, as plain data.
            overrides: The words of the command line.

        Raises:
            SettingError: If there is a run in it already, or it cannot be made.
        """
        key = "hydra.run.dir"
        with _writable(self.path, key):
            self.path.mkdir(parents=True, exist_ok=True)
        with self._locked(key):
            with _writable(self.path, key):
                if self.metrics.exists() or self.checkpoints():
                    raise SettingError(
                        key, self.path, f"holds a run already; {typed('resume', self.path)} goes on with it"
                    )
                self._clear_away_halves()
                for part in (".hydra", "samples", "checkpoints"):
                    (self.path / part).mkdir(exist_ok=True)
                for name, content in {"config": dict(config), "overrides": list(overrides)}.items():
                    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
                    (self.path / ".hydra" / f"{name}.yaml").write_text(text, encoding="utf-8")
            yield

    @contextmanager
    def reopened(self) -> Iterator[None]:
        """Keep other processes out of the folder of an earlier run, cleared of what a killed one left half-written.

        Raises:
            SettingError: If there is no such folder, another process writes in it, it cannot be written to, or it holds
                what no run makes: the folder may be somebody else's, and a link may lead anywhere.
        """
        key = "resume"
        self.require_checkpoints(key)
        for place in (self.log, self.metrics, self.timing, self.lock):
            self._require(place, place.is_file(), "file")
        for place in (self.last_checkpoint.parent, self.film.parent):
            self._require(place, place.is_dir(), "folder")
        with self._locked(key):
            with _writable(self.path, key):
                self._clear_away_halves()
            yield

    def require_checkpoints(self, key: str) -> None:
        """Refuse what is no run's folder.

        Args:
            key: The setting that named it.

        Raises:
            SettingError: If there is no such folder, or no checkpoint in it.
        """
        try:
            if not self.path.is_dir():
                wrong = "is a file; give the folder of a run" if self.path.exists() else "does not exist"
            elif (self.path / "multirun.yaml").exists():
                wrong = f"is a sweep's folder; repeat its words with {typed('hydra.sweep.dir', self.path)} resume=auto"
            elif not self.checkpoints():
                wrong = "is no run's folder: there is no checkpoints/last.pt in it"
            else:
                return
        except OSError as error:
            wrong = f"cannot be looked at ({error.strerror})"
        raise SettingError(key, self.path, wrong)

    def _clear_away_halves(self) -> None:
        """Delete what a killed process left half-written, and nothing that may be anybody else's."""
        for place in (self.path, self.last_checkpoint.parent, self.film.parent):
            for partial in place.glob(f".*.[0-9]*{PARTIAL}"):
                partial.unlink()

    def _require(self, place: Path, is_right: bool, kind: str) -> None:
        """Refuse to write to what is there, unless it is of the kind that a run makes, or nothing."""
        if place.is_symlink() or (place.exists() and not is_right):
            found = "a link" if place.is_symlink() else f"no {kind}"
            raise SettingError("resume", self.path, f"{place} is {found}, which no run makes")

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold a lock that the system gives back when this process ends, however it ends."""
        lock = FileLock(self.lock, blocking=False)
        with _writable(self.path, key):
            try:
                lock.acquire()
            except Timeout:
                raise SettingError(key, self.path, "another process is writing in it") from None
            except NotImplementedError as error:
                raise SettingError(key, self.path, f"is on a file system without locks ({error})") from error
        try:
            yield
        finally:
            lock.release()

    def keep_epochs(self, count: int | None) -> None:
        """Delete the epochs' checkpoints but for the newest; None keeps all."""
        for path in [] if count is None else self.epoch_checkpoints()[count:]:
            path.unlink()


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Find the folders of runs in a folder, itself included, at any depth."""
    for place, folders, _ in os.walk(root):
        if "checkpoints" in folders:
            folders.clear()
            yield RunFolder(Path(place))


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """Return files with numbers in their names, the smallest first: 10000 comes after 9999."""
    files = [path for path in folder.glob(pattern) if path.is_file()]
    return sorted(files, key=lambda path: (len(path.name), path.name))


@contextmanager
def _writable(path: Path, key: str) -> Iterator[None]:
    """Blame a setting where the folder that it names cannot be written to."""
    try:
        yield
    except OSError as error:
        raise SettingError(key, path, f"cannot be written to ({error.strerror})") from error
