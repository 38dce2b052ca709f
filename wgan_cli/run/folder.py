"""The folder of a run, and what it contains."""

import errno
import logging
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from wgan_cli.errors import InputError, as_typed, make_printable
from wgan_cli.files import PARTIAL

log = logging.getLogger(__name__)

# The errors of file systems that have no locks, such as some network file systems.
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO)


@dataclass(frozen=True)
class RunFolder:
    """Names the files in a run's folder.

    Attributes:
        path: The folder; it need not exist yet.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The command line, and every setting in force."""
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        """The messages of the command, with times."""
        return self.path / "wgan-train.log"

    @property
    def metrics(self) -> Path:
        """Measured numbers by step: only what is reproducible."""
        return self.path / "metrics.csv"

    @property
    def timing(self) -> Path:
        """Times and rates by step."""
        return self.path / "timing.csv"

    @property
    def lock(self) -> Path:
        """The file that the writing process holds a lock on."""
        return self.path / ".lock"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state."""
        return self.path / "checkpoints" / "last.safetensors"

    def epoch_checkpoint(self, epoch: int) -> Path:
        """Return the path of the state after an epoch, counted from 1."""
        return self.path / "checkpoints" / f"epoch_{epoch:04d}.safetensors"

    def checkpoints(self) -> list[Path]:
        """Return all checkpoints: the last, then those of the epochs, newest first."""
        return [path for path in (self.last_checkpoint, *self.epoch_checkpoints()) if path.exists()]

    def epoch_checkpoints(self) -> list[Path]:
        """Return the checkpoints of the epochs, newest first."""
        return _sort_numbered(self.last_checkpoint.parent, "epoch_*.safetensors")[::-1]

    def sample(self, name: str) -> Path:
        """Return the path of a grid."""
        return self.path / "samples" / f"{name}.png"

    def epoch_samples(self) -> list[Path]:
        """Return the grids of the epochs, oldest first."""
        return _sort_numbered(self.sample("epoch").parent, "epoch_*.png")

    def newest_grid(self) -> Path:
        """Return the grid that was drawn last."""
        last = self.sample("last")
        return last if last.exists() else self.epoch_samples()[-1]

    @property
    def film(self) -> Path:
        """The grids of the epochs as an animation."""
        return self.path / "samples" / "progress.gif"

    @contextmanager
    def create(self, config: Mapping[str, Any], words: Sequence[str]) -> Iterator[None]:
        """Create the folder, record the settings, and lock the folder inside the context.

        Args:
            config: Every setting in force, as plain data.
            words: The settings on the command line.

        Raises:
            InputError: If it is a file, contains a run, or another process writes to it.
            OSError: If it cannot be written.
        """
        if self.path.is_file():
            raise InputError("is a file")
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock_folder():
            if self.metrics.exists() or self.checkpoints():
                raise InputError(f"contains a run; continue it with {as_typed('resume', self.path)}")
            self._delete_partial_files()
            for place in (self.last_checkpoint, self.film):
                place.parent.mkdir(exist_ok=True)
            settings = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
            command = make_printable(shlex.join(["wgan-train", *words]))
            self.config.write_text(f"# {command}\n{settings}", encoding="utf-8")
            yield

    @contextmanager
    def reopen(self) -> Iterator[None]:
        """Lock the folder of an earlier run inside the context, and delete a killed process's partial files.

        Raises:
            InputError: If it contains no run, another process writes to it, or it contains something that no run
                creates, such as a stranger's link.
            OSError: If it cannot be written.
        """
        self.require_checkpoints()
        if not os.access(self.path, os.W_OK):
            raise InputError("cannot be written; add out=FOLDER to continue in a new folder")
        for place in (self.log, self.metrics, self.timing, self.lock):
            _require_own(place, place.is_file(), "file")
        for place in (self.last_checkpoint.parent, self.film.parent):
            _require_own(place, place.is_dir(), "folder")
        with self._lock_folder():
            self._delete_partial_files()
            yield

    def require_checkpoints(self) -> None:
        """Check that the folder contains a run.

        Raises:
            InputError: If it does not.
            OSError: If the folder cannot be read.
        """
        if not self.path.is_dir():
            is_file = "is a file, not the folder of a run; add out=FOLDER to continue from it in a new folder"
            raise InputError(is_file if self.path.exists() else "does not exist")
        if (self.path / "multirun.yaml").exists():
            repeat = f"{as_typed('out', self.path)} resume=auto"
            raise InputError(f"is the folder of a sweep; to resume it, repeat its command with {repeat}")
        if not self.checkpoints():
            if (self.last_checkpoint.parent / "last.pt").exists():
                raise InputError("contains checkpoints of an older version (*.pt), which this version cannot read")
            raise InputError(f"is not the folder of a run: it has no checkpoints/{self.last_checkpoint.name}")

    def copy_history(self, source: "RunFolder", epochs: int) -> None:
        """Copy the tables of another run, and its grids of the first ``epochs`` epochs."""
        grids = [source.sample(f"epoch_{epoch:04d}") for epoch in range(1, epochs + 1)]
        for path in (source.metrics, source.timing, *grids):
            if path.is_file():
                shutil.copyfile(path, self.path / path.relative_to(source.path))

    def keep_epochs(self, count: int | None) -> None:
        """Delete all but the newest ``count`` epoch checkpoints; None keeps all."""
        for path in [] if count is None else self.epoch_checkpoints()[count:]:
            path.unlink()

    def _delete_partial_files(self) -> None:
        for place in (self.path, self.last_checkpoint.parent, self.film.parent):
            for partial in place.glob(f".*.[0-9]*{PARTIAL}"):
                partial.unlink()

    @contextmanager
    def _lock_folder(self) -> Iterator[None]:
        """Hold a lock, which the system releases when the process ends. A refusal leaves no new file."""
        is_new, lock = not self.lock.exists(), FileLock(self.lock, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise InputError("another process is writing to it") from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
                raise
            log.warning("%s is on a file system without locks; no other process may train there", self.path)
        try:
            yield
        except InputError:
            if is_new:  # a refused command leaves nothing
                self.lock.unlink(missing_ok=True)
            raise
        finally:
            lock.release()


def find_runs(root: Path) -> Iterator[RunFolder]:
    """Find the folders of runs in a folder, at any depth. The folder itself may be one."""
    for place, folders, _ in os.walk(root):
        if "checkpoints" in folders:
            folders.clear()
            yield RunFolder(Path(place))


def _sort_numbered(folder: Path, pattern: str) -> list[Path]:
    """Return files with a number in their names, smallest first: 10000 comes after 9999."""
    files = [path for path in folder.glob(pattern) if path.is_file()]
    return sorted(files, key=lambda path: (len(path.name), path.name))


def _require_own(place: Path, right_kind: bool, kind: str) -> None:
    """Refuse to write to something that no run creates."""
    if place.is_symlink() or (place.exists() and not right_kind):
        raise InputError(f"{place} is {'a link' if place.is_symlink() else f'not a {kind}'}, which no run creates")
