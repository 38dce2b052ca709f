from pathlib import Path

import pytest

from tests.commands import TINY, Answer, run
from tests.data.files import photographs

# Finished runs that several tests look at. A step has two critic updates c and a generator update g, and an epoch
# has five critic updates; | ends one: c c g c c g c | c g c c g c c g |
RUNS = {
    "whole": (),
    "half": ("epochs=1",),
    "other_seed": ("seed=1",),
}


class FinishedRuns:
    """Runs by name, each made when a test first asks for it. Tests must not write into their folders."""

    def __init__(self, folder: Path, tiny: tuple[str, ...]) -> None:
        self._folder, self._tiny = folder, tiny
        self._answers: dict[str, Answer] = {}

    def __getitem__(self, name: str) -> Path:
        self.answer(name)
        return self._folder / name

    def answer(self, name: str) -> Answer:
        if name not in self._answers:
            self._answers[name] = run("wgan-train", *self._tiny, *RUNS[name], f"out={name}", cwd=self._folder)
        return self._answers[name]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings for a run of a second on 40 images from a folder. Rendering the default digits would take longer."""
    root = photographs(tmp_path_factory.mktemp("data") / "photos", 50)
    return (*TINY, "dataset=image_folder", f"dataset.root={root}", "dataset.channels=1")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> FinishedRuns:
    return FinishedRuns(tmp_path_factory.mktemp("runs"), tiny)
