from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from wgan_cli.run.cadence import Cadence
from wgan_cli.training.schedule import CriticSchedule

PLAIN = Cadence(
    epochs=2,
    max_steps=None,
    updates_per_epoch=4,
    schedule=CriticSchedule(2),
    log_every=2,
    sample_every=1,
    checkpoint_every=1,
)


def history(cadence: Cadence) -> list[tuple[str, set[str]]]:
    """Play Algorithm 1 with counters alone: each update of either player, and what is due after it."""
    state: Any = SimpleNamespace(step=0, critic_updates=0, critic_updates_in_step=0)
    seen: list[tuple[str, set[str]]] = []
    while not cadence.finished(state):
        assert len(seen) < 1000
        if state.critic_updates_in_step < cadence.schedule.updates_in(state.step):
            state.critic_updates += 1
            state.critic_updates_in_step += 1
            update = f"critic {state.critic_updates}"
        else:
            state.step += 1
            state.critic_updates_in_step = 0
            update = f"step {state.step}"
        due = {
            "row": cadence.row_due(state),
            "epoch": cadence.epoch_ended(state),
            "sample": cadence.sample_due(state),
            "checkpoint": cadence.checkpoint_due(state),
        }
        number = cadence.epochs_done(state)
        assert cadence.epoch(state) == number + (0 if state.critic_updates % cadence.updates_per_epoch == 0 else 1)
        seen.append((update, {name for name, is_due in due.items() if is_due}))
    assert state.critic_updates <= cadence.total_updates
    assert state.step == cadence.total_steps
    return seen


def due(cadence: Cadence, what: str) -> list[str]:
    return [update for update, names in history(cadence) if what in names]


ALL = {"epoch", "sample", "checkpoint"}


def test_a_step_at_the_end_of_an_epoch_belongs_to_it() -> None:
    assert history(PLAIN) == [
        ("critic 1", set()),
        ("critic 2", set()),
        ("step 1", set()),
        ("critic 3", set()),
        ("critic 4", set()),  # the images are used up, the step is not yet made
        ("step 2", {"row", *ALL}),
        ("critic 5", set()),
        ("critic 6", set()),
        ("step 3", set()),
        ("critic 7", set()),
        ("critic 8", set()),
        ("step 4", {"row", *ALL}),
    ]


def test_critic_updates_that_do_not_fill_a_step_carry_over() -> None:
    cadence = replace(PLAIN, updates_per_epoch=3)
    assert due(cadence, "epoch") == ["critic 3", "step 3"]
    assert due(cadence, "row") == ["step 2"]
    assert [update for update, _ in history(cadence)][-2:] == ["critic 6", "step 3"]


def test_the_last_critic_updates_may_stay_without_a_step() -> None:
    assert [update for update, _ in history(replace(PLAIN, updates_per_epoch=5, epochs=1))][-2:] == [
        "step 2",
        "critic 5",
    ]


def test_an_epoch_may_hold_no_step() -> None:
    cadence = replace(PLAIN, updates_per_epoch=2, schedule=CriticSchedule(5), epochs=5, log_every=1)
    assert due(cadence, "epoch") == ["critic 2", "critic 4", "critic 6", "critic 8", "step 2"]
    assert due(cadence, "checkpoint") == due(cadence, "epoch")
    assert due(cadence, "row") == ["step 1", "step 2"]


def test_rows_come_every_so_many_steps_and_only_then() -> None:
    cadence = replace(PLAIN, epochs=5, log_every=3, schedule=CriticSchedule(1))
    assert due(cadence, "row") == [f"step {number}" for number in (3, 6, 9, 12, 15, 18)]


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [(1, 3, [1, 2, 3]), (2, 4, [2, 4]), (2, 5, [2, 4, 5]), (3, 4, [3, 4]), (10, 3, [3])],
)
def test_grids_and_checkpoints_come_every_so_many_epochs_and_after_the_last(
    every: int, epochs: int, expected: list[int]
) -> None:
    ends = [f"step {2 * epoch}" for epoch in expected]
    assert due(replace(PLAIN, epochs=epochs, sample_every=every), "sample") == ends
    assert due(replace(PLAIN, epochs=epochs, checkpoint_every=every), "checkpoint") == ends
    assert len(due(replace(PLAIN, epochs=epochs, sample_every=every), "checkpoint")) == epochs


def test_max_steps_ends_training_in_the_middle_of_an_epoch() -> None:
    cadence = replace(PLAIN, max_steps=3)
    assert [update for update, _ in history(cadence)][-1] == "step 3"
    assert due(cadence, "epoch") == ["step 2"]
    assert (cadence.total_steps, cadence.total_updates) == (3, 6)


def test_max_steps_at_an_epochs_end_has_its_grid_and_checkpoint() -> None:
    cadence = replace(PLAIN, epochs=9, max_steps=4, sample_every=5, checkpoint_every=5)
    assert due(cadence, "sample") == due(cadence, "checkpoint") == ["step 4"]


def test_more_max_steps_than_steps_change_nothing() -> None:
    assert history(replace(PLAIN, max_steps=1000)) == history(PLAIN)


def test_a_fresh_state_has_nothing_due() -> None:
    state: Any = SimpleNamespace(step=0, critic_updates=0, critic_updates_in_step=0)
    assert not PLAIN.row_due(state)
    assert not PLAIN.epoch_ended(state)
    assert not PLAIN.finished(state)
    assert PLAIN.epoch(state) == 1
