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
from PIL import Image, ImageSequence
from torch import Tensor

from tests.builders import bits, images_info, make_rules, make_state, uint8_images
from tests.commands import checkpoint, names
from wgan_cli.constraints import GradientPenalty, Scorer
from wgan_cli.images import grid
from wgan_cli.losses import Wasserstein
from wgan_cli.run.cadence import Cadence
from wgan_cli.run.checkpoints import load_checkpoint
from wgan_cli.run.failure import RunFailedError
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.session import Run, execute
from wgan_cli.sampling import GRID_IMAGES, sample
from wgan_cli.training.schedule import CriticSchedule
from wgan_cli.training.state import TrainingState

# Three batches an epoch and two critic updates a step: epochs end after updates 3, 6 (with step 3), 9, 12 (step 6).
CADENCE = Cadence(
    epochs=4,
    max_steps=None,
    updates_per_epoch=3,
    schedule=CriticSchedule(2),
    log_every=2,
    sample_every=1,
    checkpoint_every=2,
)


def make_run(cadence: Cadence = CADENCE, state: TrainingState | None = None, **changed: Any) -> Run:
    """A run of 12 critic updates over 14 small images; what is not named of rules and run is the usual."""
    parts = {key: changed.pop(key) for key in ("loss", "constraint") if key in changed}
    named: dict[str, Any] = {key: part for key, part in parts.items() if isinstance(part, str)}
    made = {key: part for key, part in parts.items() if key not in named}
    usual: dict[str, Any] = {
        "config": {"seed": 11},
        "state": make_state(ema=True) if state is None else state,
        "rules": replace(make_rules(**named), **made),
        "cadence": cadence,
        "batch_size": 4,
        "max_minutes": None,
        "save_minutes": None,
        "keep": None,
        "seed": 11,
        "images": images_info(),
        "real": uint8_images(14),
        "plan": "",
    }
    return Run(**{**usual, **changed})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return new_folder(tmp_path / "run")


def new_folder(path: Path) -> RunFolder:
    """The folder of a run that is to begin."""
    folder = RunFolder(path)
    with folder.begun({}, []):
        return folder


def rows(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]


class Told(Wasserstein):
    """The Wasserstein loss, which writes down what it returned, and does something at one of the critic's updates."""

    def __init__(self, at: int = 0, what: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
        self.critic_losses: list[float] = []
        self.generator_losses: list[float] = []
        self.at, self.what = at, what

    def critic(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        loss = super().critic(real_scores, fake_scores)
        self.critic_losses.append(loss.item())
        return self.what(loss) if len(self.critic_losses) == self.at else loss

    def generator(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        loss = super().generator(real_scores, fake_scores)
        self.generator_losses.append(loss.item())
        return loss


class ToldPenalty(GradientPenalty):
    told: ClassVar[list[float]] = []

    def penalty(self, critic: Scorer, real: Tensor, fake: Tensor, epsilon: torch.Generator) -> Tensor:
        value = super().penalty(critic, real, fake, epsilon)
        assert value is not None
        self.told.append(value.item())
        return value


def test_what_a_run_leaves(folder: RunFolder) -> None:
    run = make_run()
    assert execute(run, folder) == "finished"
    assert names(folder.path) - {".lock", ".hydra/config.yaml", ".hydra/overrides.yaml"} == {
        "metrics.csv",
        "timing.csv",
        "samples/real.png",
        "samples/progress.gif",
        *(f"samples/epoch_000{epoch}.png" for epoch in (1, 2, 3, 4)),
        *(f"checkpoints/{name}.pt" for name in ("epoch_0002", "epoch_0004", "last")),
    }
    assert (run.state.step, run.state.critic_updates) == (6, 12)
    saved = load_checkpoint(folder.last_checkpoint, "")
    assert bits(saved.state) == bits(run.state)
    assert (saved.config, saved.images) == ({"seed": 11}, run.images)
    assert folder.last_checkpoint.samefile(folder.epoch_checkpoint(4))
    with Image.open(folder.sample("epoch_0004")) as png:
        assert np.array_equal(np.asarray(png), grid(sample(run.state.sampler, 11, GRID_IMAGES))[0].numpy())
    with Image.open(folder.sample("real")) as png:
        assert np.array_equal(np.asarray(png), grid(run.real)[0].numpy())


def film(folder: RunFolder) -> list[np.ndarray[Any, Any]]:
    with Image.open(folder.film) as gif:
        return [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]


def test_the_film_shows_the_epochs_of_a_run_also_of_one_that_was_stopped(folder: RunFolder) -> None:
    run = make_run(replace(CADENCE, epochs=2))
    execute(run, folder)
    assert len(film(folder)) == 2
    execute(replace(run, cadence=CADENCE), folder)
    shown = film(folder)
    assert len(shown) == 4
    for epoch, frame in enumerate(shown, start=1):
        with Image.open(folder.sample(f"epoch_000{epoch}")) as png:
            assert np.array_equal(frame, np.asarray(png))


def test_a_long_film_is_cut_short_and_ends_with_the_last_epoch(folder: RunFolder) -> None:
    for epoch in range(1, 253):
        Image.new("RGB", (40, 40), (epoch % 256, 0, 0)).save(folder.sample(f"epoch_{epoch:04d}"))
    (folder.sample("epoch_0004")).write_bytes(b"torn")
    execute(make_run(replace(CADENCE, sample_every=1000, max_steps=1)), folder)
    with Image.open(folder.film) as gif:
        shown = [frame.convert("RGB").getpixel((0, 0)) for frame in ImageSequence.Iterator(gif)]
    assert shown == [(epoch, 0, 0) for epoch in (1, *range(7, 251, 3), 252)]


def test_rows_are_the_means_since_the_last_row(folder: RunFolder) -> None:
    """Four steps and a half: rows after steps 2 and 4 and, over the critic's last updates alone, at the end."""
    ToldPenalty.told.clear()
    loss, constraint = Told(), ToldPenalty()
    cadence = replace(CADENCE, epochs=3)
    execute(make_run(cadence, make_state(constraint="none"), loss=loss, constraint=constraint), folder)
    found = rows(folder.metrics)
    assert [(row["step"], row["epoch"], row["critic_updates"]) for row in found] == [(2, 2, 4), (4, 3, 8), (4, 3, 9)]
    assert len(loss.critic_losses) == 9
    for index, row in enumerate(found[:2]):
        critic = slice(4 * index, 4 * index + 4)
        generator = slice(2 * index, 2 * index + 2)
        assert row["critic_loss"] == pytest.approx(np.mean(loss.critic_losses[critic]), rel=1e-12)
        assert row["wasserstein_estimate"] == pytest.approx(-np.mean(loss.critic_losses[critic]), rel=1e-6)
        assert row["penalty"] == pytest.approx(np.mean(ToldPenalty.told[critic]), rel=1e-12)
        assert row["generator_loss"] == pytest.approx(np.mean(loss.generator_losses[generator]), rel=1e-12)
    assert found[2]["critic_loss"] == pytest.approx(loss.critic_losses[8], rel=1e-12)
    assert np.isnan(found[2]["generator_loss"])  # an empty cell: no step since the last row
    assert all(row["penalty"] > 0 for row in found)
    timing = rows(folder.timing)
    assert [row["step"] for row in timing] == [row["step"] for row in found]
    assert all(row["images_per_second"] > 0 for row in timing)


def test_the_last_steps_have_a_row_of_their_own(folder: RunFolder) -> None:
    loss = Told()
    execute(make_run(replace(CADENCE, log_every=4), loss=loss), folder)
    assert [row["step"] for row in rows(folder.metrics)] == [4, 6]
    last = rows(folder.metrics)[-1]
    assert last["critic_loss"] == pytest.approx(np.mean(loss.critic_losses[8:]), rel=1e-12)
    assert last["generator_loss"] == pytest.approx(np.mean(loss.generator_losses[4:]), rel=1e-12)


@pytest.mark.parametrize("log_every", [1, 3])
def test_a_loss_that_is_not_finite_ends_the_run(log_every: int, folder: RunFolder) -> None:
    """The ninth critic update is the first of step 5; nothing later than step 4 is written."""
    loss = Told(at=9, what=lambda value: value * torch.nan)
    run = make_run(replace(CADENCE, log_every=log_every, checkpoint_every=1), loss=loss)
    with pytest.raises(RunFailedError, match=r"^in step 5 a loss .* The last good checkpoint is .*last\.pt\.$"):
        execute(run, folder)
    assert {name for name in names(folder.path) if name.startswith(("checkpoints", "samples"))} == {
        "samples/real.png",
        *(f"samples/epoch_000{epoch}.png" for epoch in (1, 2)),
        *(f"checkpoints/{name}.pt" for name in ("epoch_0001", "epoch_0002", "last")),
    }
    saved = checkpoint(folder.last_checkpoint)["state"]
    assert (saved["step"], saved["critic_updates"]) == (3, 6)
    assert all(
        torch.isfinite(weight).all() for network in ("generator", "critic") for weight in saved[network].values()
    )
    assert [row["step"] for row in rows(folder.metrics)] == [step for step in (1, 2, 3, 4) if step % log_every == 0]


def test_a_run_that_fails_at_once_has_the_checkpoint_that_it_began_with(folder: RunFolder) -> None:
    loss = Told(at=1, what=lambda value: value / 0)
    with pytest.raises(RunFailedError, match=r"^in step 1 .* The last good checkpoint is .*last\.pt\.$"):
        execute(make_run(loss=loss), folder)
    assert [path.name for path in folder.last_checkpoint.parent.iterdir()] == ["last.pt"]
    assert bits(load_checkpoint(folder.last_checkpoint, "").state) == bits(make_run().state)


def test_time_that_is_over_stops_after_an_update(folder: RunFolder) -> None:
    run = make_run(max_minutes=1e-9)
    assert execute(run, folder) == "out of time"
    saved = load_checkpoint(folder.last_checkpoint, "").state
    assert (saved["step"], saved["critic_updates"], saved["critic_updates_in_step"]) == (0, 1, 1)
    assert bits(saved) == bits(run.state)
    assert names(folder.path) >= {"samples/last.png", "checkpoints/last.pt", "metrics.csv"}
    assert rows(folder.metrics) == []
    assert not folder.epoch_checkpoint(1).exists()


def in_pieces(folder: RunFolder) -> Run:
    """Train by one update a process, as it were, each from the checkpoint of the one before."""
    run = make_run(max_minutes=1e-9)
    while execute(run, folder) != "finished":
        run = make_run(state=make_state(ema=True, seed=99), max_minutes=1e-9)
        run.state.load_state_dict(load_checkpoint(folder.last_checkpoint, "").state)
    return run


def test_many_stops_make_the_same_run(folder: RunFolder, tmp_path: Path) -> None:
    whole = new_folder(tmp_path / "whole")
    straight = make_run()
    execute(straight, whole)
    pieces = in_pieces(folder)
    assert bits(pieces.state) == bits(straight.state)
    assert folder.metrics.read_bytes() == whole.metrics.read_bytes()
    rates = [row["images_per_second"] for row in rows(folder.timing)]
    assert np.isnan(rates).any()  # empty where a piece was a generator update, in which no image is trained on
    assert 0 not in rates
    assert names(folder.path) == names(whole.path)
    for name in names(whole.path):
        if name.endswith(".png"):
            assert (folder.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Grids, rows and checkpoints after every step or never: the same weights, buffers and momenta."""

    def trained(every: int) -> dict[str, Any]:
        folder = new_folder(tmp_path / str(every))
        state = make_state("dcgan", "adam", "spectral_norm", ema=True)
        cadence = replace(CADENCE, log_every=every, sample_every=every, checkpoint_every=every)
        execute(make_run(cadence, state, constraint="spectral_norm", loss="hinge"), folder)
        found = bits(state)
        return {key: value for key, value in found.items() if not key.startswith(("/means", "/rows"))}

    often, never = trained(1), trained(1000)
    assert often == never
    assert len(names(tmp_path / "1")) > len(names(tmp_path / "1000"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_update_under_way(number: signal.Signals, folder: RunFolder) -> None:
    def interrupt(loss: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return loss

    earlier = signal.getsignal(number)
    run = make_run(loss=Told(at=5, what=interrupt))
    assert execute(run, folder) == number
    assert signal.getsignal(number) == earlier
    assert (run.state.critic_updates, run.state.critic_updates_in_step, run.state.step) == (5, 1, 2)
    assert bits(load_checkpoint(folder.last_checkpoint, "").state) == bits(run.state)
    assert folder.sample("last").is_file()


def test_a_second_interrupt_stops_at_once(folder: RunFolder) -> None:
    def interrupt(loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return loss

    with pytest.raises(KeyboardInterrupt):
        execute(make_run(loss=Told(at=5, what=interrupt)), folder)
    assert not folder.sample("last").exists()


def refuse(error: Exception) -> Callable[[Tensor], Tensor]:
    def fail(_: Tensor) -> Tensor:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory; lower one of batch_size, generator.width"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(28, "No space left on device", "metrics.csv"), "metrics.csv: no space left on device"),
    ],
)
def test_what_the_machine_lacks_is_a_failure_of_the_run(error: Exception, words: str, folder: RunFolder) -> None:
    loss = Told(at=8, what=refuse(error))
    with pytest.raises(RunFailedError, match=r"The last good checkpoint is .*last\.pt\.") as failed:
        execute(make_run(loss=loss), folder)
    assert words in str(failed.value).lower()
    assert checkpoint(folder.last_checkpoint)["state"]["critic_updates"] == 6


def test_a_bug_stays_a_bug(folder: RunFolder) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2") as raised:
        execute(make_run(loss=Told(at=2, what=refuse(RuntimeError("mat1 and mat2")))), folder)
    assert not isinstance(raised.value, RunFailedError)


def test_a_finished_run_is_left_alone(folder: RunFolder) -> None:
    run = make_run()
    execute(run, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    assert execute(run, folder) == "finished"
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before
