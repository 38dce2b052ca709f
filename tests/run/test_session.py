import csv
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.builders import bits, data_spec, make_algorithm, make_state, settings, uint8_images
from tests.commands import names, tree
from tests.sampling.conftest import read_gif, read_png
from wgan_cli.constraints import GradientPenalty, SpectralNorm
from wgan_cli.errors import RunFailedError
from wgan_cli.losses import Hinge, Wasserstein
from wgan_cli.networks.players import Batch
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import read_checkpoint
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.session import Run, execute
from wgan_cli.sampling.draw import draw_grid
from wgan_cli.sampling.pictures import make_grid
from wgan_cli.settings import select_storable
from wgan_cli.training.schedule import CriticSchedule, Position
from wgan_cli.training.state import TrainingState

# Three batches an epoch and two critic updates a step: epochs end after updates 3, 6 (with step 3), 9, 12 (step 6).
CADENCE = Cadence(4, None, 3, CriticSchedule(2), log_every=2, sample_every=1, checkpoint_every=2)


def make_run(
    cadence: Cadence = CADENCE, state: TrainingState | None = None, max_minutes: float | None = None, **parts: Any
) -> Run:
    """A run of 12 critic updates over 14 small images. The parts are the algorithm's."""
    algorithm, chosen = replace(make_algorithm(), **parts), settings(seed=11, max_minutes=max_minutes)
    return Run(
        chosen, state or make_state(ema=True), algorithm, cadence, data_spec(), make_grid(uint8_images(14)), plan=""
    )


def create(path: Path) -> RunFolder:
    folder = RunFolder(path)
    with folder.create({}, []):
        return folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create(tmp_path / "run")


def read_bits(path: Path) -> dict[str, Any]:
    saved = read_checkpoint(path)
    return bits({**saved.tensors, **saved.counts})


def read_rows(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]


class RecordedLoss(Wasserstein):
    """The Wasserstein loss. It records what it returned, and does something at one of the critic's updates."""

    def __init__(self, at: int = 0, action: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
        self.critic_losses: list[float] = []
        self.generator_losses: list[float] = []
        self.at, self.action = at, action

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        loss = super().critic(real_scores, fake_scores)
        self.critic_losses.append(loss.item())
        return self.action(loss) if len(self.critic_losses) == self.at else loss

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        loss = super().generator(real_scores, fake_scores)
        self.generator_losses.append(loss.item())
        return loss


class RecordedPenalty(GradientPenalty):
    recorded: ClassVar[list[float]] = []

    def penalty(self, critic: nn.Module, real: Batch, fake: Batch, stream: torch.Generator) -> Tensor:
        value = super().penalty(critic, real, fake, stream)
        self.recorded.append(value.item())
        return value


def test_what_a_run_leaves(folder: RunFolder) -> None:
    run = make_run()
    assert execute(run, folder) == "finished"
    assert names(folder.path) == {
        *(".lock", "config.yaml", "metrics.csv", "timing.csv", "samples/real.png", "samples/progress.gif"),
        *(f"samples/epoch_000{epoch}.png" for epoch in (1, 2, 3, 4)),
        *(f"checkpoints/{name}.safetensors" for name in ("epoch_0002", "epoch_0004", "last")),
    }
    assert run.state.position == Position(6, 12, 0)
    assert read_bits(folder.last_checkpoint) == bits(run.state)
    saved = read_checkpoint(folder.last_checkpoint)
    assert (saved.config, saved.data) == (select_storable(run.settings), run.data)
    assert folder.last_checkpoint.samefile(folder.epoch_checkpoint(4))
    for name, grid in (("epoch_0004", draw_grid(run.state.sampler, 11)), ("real", run.real)):
        assert np.array_equal(read_png(folder.sample(name))[:, :, 0], grid[0].numpy())
    before = tree(folder.path)
    assert execute(run, folder) == "finished"
    assert tree(folder.path) == before


def test_the_film_shows_all_epochs_of_a_run_that_was_continued(folder: RunFolder) -> None:
    run = make_run(replace(CADENCE, epochs=2))
    for epochs in (2, 4):
        execute(replace(run, cadence=replace(CADENCE, epochs=epochs)), folder)
        frames, _ = read_gif(folder.film)
        assert len(frames) == epochs
    for epoch, frame in enumerate(frames, start=1):
        assert np.array_equal(frame, read_png(folder.sample(f"epoch_000{epoch}"))[:, :, 0])


def test_a_long_film_is_shortened_and_ends_with_the_last_epoch(folder: RunFolder) -> None:
    for epoch in range(1, 253):
        Image.new("RGB", (40, 40), (epoch % 256, 0, 0)).save(folder.sample(f"epoch_{epoch:04d}"))
    folder.sample("epoch_0004").write_bytes(b"damaged")
    execute(make_run(replace(CADENCE, sample_every=1000, max_steps=1)), folder)
    assert folder.sample("last").is_file()  # because the run ended in the middle of an epoch
    corners = [frame[0, 0].tolist() for frame in read_gif(folder.film, "RGB")[0]]
    assert corners == [[epoch, 0, 0] for epoch in (1, *range(7, 251, 3), 252)]


def test_rows_are_the_means_since_the_last_row(folder: RunFolder) -> None:
    """Four steps and a half: rows after steps 2 and 4 and, over the critic's last updates alone, at the end."""
    RecordedPenalty.recorded.clear()
    loss = RecordedLoss()
    state = make_state(constraint="none")
    execute(make_run(replace(CADENCE, epochs=3), state, loss=loss, constraint=RecordedPenalty()), folder)
    rows = read_rows(folder.metrics)
    assert [(row["step"], row["epoch"], row["critic_updates"]) for row in rows] == [(2, 2, 4), (4, 3, 8), (4, 3, 9)]
    assert len(loss.critic_losses) == 9
    for index, row in enumerate(rows[:2]):
        critic = slice(4 * index, 4 * index + 4)
        generator = slice(2 * index, 2 * index + 2)
        assert row["critic_loss"] == pytest.approx(np.mean(loss.critic_losses[critic]), rel=1e-12)
        assert row["wasserstein_estimate"] == pytest.approx(-np.mean(loss.critic_losses[critic]), rel=1e-6)
        assert row["penalty"] == pytest.approx(np.mean(RecordedPenalty.recorded[critic]), rel=1e-12)
        assert row["generator_loss"] == pytest.approx(np.mean(loss.generator_losses[generator]), rel=1e-12)
    assert rows[2]["critic_loss"] == pytest.approx(loss.critic_losses[8], rel=1e-12)
    assert np.isnan(rows[2]["generator_loss"])  # an empty cell: no step since the last row
    assert all(row["penalty"] > 0 for row in rows)
    timing = read_rows(folder.timing)
    assert [row["step"] for row in timing] == [row["step"] for row in rows]
    assert all(row["images_per_second"] > 0 for row in timing)


@pytest.mark.parametrize(
    ("at", "log_every", "rows", "epochs"), [(9, 1, [1, 2, 3, 4], 2), (9, 3, [3], 2), (1, 1, [], 0)]
)
def test_a_loss_that_is_not_finite_ends_the_run(
    at: int, log_every: int, rows: list[int], epochs: int, folder: RunFolder
) -> None:
    """The ninth critic update is the first of step 5. Nothing later than step 4 is written."""
    loss = RecordedLoss(at, action=lambda value: value * torch.nan)
    with pytest.raises(RunFailedError, match=rf"^in step {1 + at // 2} a loss or a gradient was not finite"):
        execute(make_run(replace(CADENCE, log_every=log_every, checkpoint_every=1), loss=loss), folder)
    numbers = [f"epoch_000{epoch}" for epoch in range(1, epochs + 1)]
    assert names(folder.film.parent) == {"real.png", *(f"{number}.png" for number in numbers)}
    assert names(folder.last_checkpoint.parent) == {f"{name}.safetensors" for name in (*numbers, "last")}
    assert read_checkpoint(folder.last_checkpoint).position == (Position(3, 6, 0) if epochs else Position())
    assert [row["step"] for row in read_rows(folder.metrics)] == rows


def test_a_run_with_many_stops_is_the_same_run(folder: RunFolder, tmp_path: Path) -> None:
    """One process for each update, so to speak, and each resumes from the checkpoint of the one before."""
    uninterrupted, other = make_run(), create(tmp_path / "uninterrupted")
    execute(uninterrupted, other)
    run = make_run(max_minutes=1e-9)
    while (ending := execute(run, folder)) != "finished":
        assert ending == "out of time"
        assert read_bits(folder.last_checkpoint) == bits(run.state)
        run = make_run(state=make_state(ema=True, seed=99), max_minutes=1e-9)
        saved = read_checkpoint(folder.last_checkpoint)
        run.state.load(saved.tensors, saved.counts)
    assert bits(run.state) == bits(uninterrupted.state)
    rates = [row["images_per_second"] for row in read_rows(folder.timing)]
    assert np.isnan(rates).any()  # empty if the process made a generator update only, which trains on no images
    assert 0 not in rates
    assert names(folder.path) == names(other.path)
    for name in names(other.path):
        if name.endswith((".png", ".gif")) or name == "metrics.csv":
            assert (folder.path / name).read_bytes() == (other.path / name).read_bytes(), name


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Grids, rows and checkpoints after every step or never: the same weights, buffers and optimizer states."""

    def train(every: int) -> dict[str, Any]:
        state = make_state("dcgan", "adam", "spectral_norm", ema=True)
        cadence = replace(CADENCE, log_every=every, sample_every=every, checkpoint_every=every)
        execute(make_run(cadence, state, loss=Hinge(), constraint=SpectralNorm()), create(tmp_path / str(every)))
        return {key: value for key, value in bits(state).items() if not key.startswith(("/means", "/rows"))}

    assert train(1) == train(1000)
    assert len(names(tmp_path / "1")) > len(names(tmp_path / "1000"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_current_update(number: signal.Signals, folder: RunFolder) -> None:
    def interrupt(loss: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return loss

    earlier = signal.getsignal(number)
    run = make_run(loss=RecordedLoss(at=5, action=interrupt))
    assert execute(run, folder) == number
    assert signal.getsignal(number) == earlier
    assert run.state.position == Position(2, 5, 1)
    assert read_bits(folder.last_checkpoint) == bits(run.state)
    assert folder.sample("last").is_file()
