from dataclasses import replace

import pytest

from wgan_cli.run.cadence import Cadence
from wgan_cli.training.schedule import CriticSchedule, Position

# Two epochs of four critic updates, two for each step.
PLAIN = Cadence(2, None, 4, CriticSchedule(2), log_every=2, sample_every=1, checkpoint_every=1)


def play(cadence: Cadence) -> list[tuple[str, set[str]]]:
    """Play Algorithm 1 with counters alone: each update of either player, and what is due after it."""
    position, seen = Position(), list[tuple[str, set[str]]]()
    while not cadence.finished(position):
        assert len(seen) < 1000
        if cadence.schedule.generator_is_next(position):
            position = position.count_step()
            update = f"step {position.step}"
        else:
            position = position.count_critic_update()
            update = f"critic {position.critic_updates}"
        due = {
            "row": cadence.row_due(position),
            "epoch": cadence.epoch_ended(position),
            "sample": cadence.sample_due(position),
            "checkpoint": cadence.checkpoint_due(position),
        }
        number = cadence.epochs_done(position)
        assert cadence.epoch(position) == number + (position.critic_updates % cadence.updates_per_epoch > 0)
        seen.append((update, {name for name, is_due in due.items() if is_due}))
    assert position.critic_updates <= cadence.total_updates
    assert position.step == cadence.total_steps
    return seen


def list_due(cadence: Cadence, what: str) -> list[str]:
    return [update for update, due in play(cadence) if what in due]


ALL = {"epoch", "sample", "checkpoint"}


def test_a_step_at_the_end_of_an_epoch_belongs_to_it() -> None:
    assert play(PLAIN) == [
        ("critic 1", set()),
        ("critic 2", set()),
        ("step 1", set()),
        ("critic 3", set()),
        ("critic 4", set()),  # all samples are used, but the step is still to come
        ("step 2", {"row", *ALL}),
        ("critic 5", set()),
        ("critic 6", set()),
        ("step 3", set()),
        ("critic 7", set()),
        ("critic 8", set()),
        ("step 4", {"row", *ALL}),
    ]
    assert not any((PLAIN.row_due(Position()), PLAIN.epoch_ended(Position()), PLAIN.finished(Position())))
    assert PLAIN.epoch(Position()) == 1


def test_critic_updates_carry_over_to_the_next_epoch() -> None:
    cadence = replace(PLAIN, updates_per_epoch=3)
    assert list_due(cadence, "epoch") == ["critic 3", "step 3"]
    assert list_due(cadence, "row") == ["step 2"]
    cadence = replace(PLAIN, updates_per_epoch=5, epochs=1)
    assert play(cadence)[-1][0] == "critic 5"  # the last may remain without a step


def test_an_epoch_may_contain_no_step() -> None:
    cadence = replace(PLAIN, updates_per_epoch=2, schedule=CriticSchedule(5), epochs=5, log_every=1)
    assert list_due(cadence, "epoch") == ["critic 2", "critic 4", "critic 6", "critic 8", "step 2"]
    assert list_due(cadence, "checkpoint") == list_due(cadence, "epoch")
    assert list_due(cadence, "row") == ["step 1", "step 2"]


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [(1, 3, [1, 2, 3]), (2, 4, [2, 4]), (2, 5, [2, 4, 5]), (3, 4, [3, 4]), (10, 3, [3])],
)
def test_grids_and_checkpoints_are_due_at_intervals_and_after_the_last_epoch(
    every: int, epochs: int, expected: list[int]
) -> None:
    ends = [f"step {2 * epoch}" for epoch in expected]
    assert list_due(replace(PLAIN, epochs=epochs, sample_every=every), "sample") == ends
    assert list_due(replace(PLAIN, epochs=epochs, checkpoint_every=every), "checkpoint") == ends
    assert len(list_due(replace(PLAIN, epochs=epochs, sample_every=every), "checkpoint")) == epochs


def test_max_steps_ends_training_before_the_epochs_do() -> None:
    cadence = replace(PLAIN, max_steps=3)  # in the middle of an epoch
    assert play(cadence)[-1][0] == "step 3"
    assert list_due(cadence, "epoch") == ["step 2"]
    assert (cadence.total_steps, cadence.total_updates) == (3, 6)
    cadence = replace(PLAIN, epochs=9, max_steps=4, sample_every=5, checkpoint_every=5)  # at the end of one
    assert list_due(cadence, "sample") == list_due(cadence, "checkpoint") == ["step 4"]
    assert play(replace(PLAIN, max_steps=1000)) == play(PLAIN)
