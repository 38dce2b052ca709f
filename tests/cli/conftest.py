from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.commands import TINY, Answer, run
from tests.data.files import photographs

# Finished runs that several tests look at, made two at a time while other tests run.
RUNS = {
    "whole": (),
    "again": (),
    "half": ("epochs=1",),
    "other_seed": ("seed=1",),
}


class FinishedRuns:
    """The runs by name; asking for one waits for it. Tests must not write into their folders."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._answers: dict[str, Future[Answer]] = {
            name: pool.submit(run, "wgan-train", *TINY, *words, f"out={name}", cwd=folder)
            for name, words in RUNS.items()
        }

    def __getitem__(self, name: str) -> Path:
        self.answer(name)
        return self._folder / name

    def answer(self, name: str) -> Answer:
        return self._answers[name].result()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings for 40 images from a folder: rendering digits would take most of a short run's time."""
    root = photographs(tmp_path_factory.mktemp("data") / "photos", 40)
    return ("dataset=image_folder", f"dataset.root={root}", "dataset.channels=1", "dataset.test_fraction=0")


@pytest.fixture(scope="session")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Two commands at a time."""
    with ThreadPoolExecutor(2) as executor:
        yield executor
        executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor) -> FinishedRuns:
    return FinishedRuns(tmp_path_factory.mktemp("runs"), pool)
