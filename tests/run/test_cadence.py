from dataclasses import replace
from typing import Any

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
    assert (position.critic_updates, position.step) == (cadence.total_updates, cadence.total_steps)
    return seen


def test_a_step_at_the_end_of_an_epoch_belongs_to_it() -> None:
    updates = play(PLAIN)
    assert [update for update, _ in updates] == [
        *("critic 1", "critic 2", "step 1", "critic 3", "critic 4", "step 2"),
        *("critic 5", "critic 6", "step 3", "critic 7", "critic 8", "step 4"),
    ]
    everything = {"row", "epoch", "sample", "checkpoint"}  # not after "critic 4": the step is still to come
    assert [(update, due) for update, due in updates if due] == [("step 2", everything), ("step 4", everything)]
    assert not any((PLAIN.row_due(Position()), PLAIN.epoch_ended(Position()), PLAIN.finished(Position())))
    assert PLAIN.epoch(Position()) == 1
    assert play(replace(PLAIN, max_steps=1000)) == updates


SHORT_EPOCHS = {"updates_per_epoch": 2, "schedule": CriticSchedule(5), "epochs": 5, "log_every": 1}
SHORT_EPOCHS_END = ["critic 2", "critic 4", "critic 6", "critic 8", "step 2"]
SELDOM = {"sample_every": 5, "checkpoint_every": 5}


@pytest.mark.parametrize(
    ("changes", "what", "expected"),
    [
        ({"updates_per_epoch": 3}, "epoch", ["critic 3", "step 3"]),  # critic updates carry over to the next epoch
        ({"updates_per_epoch": 3}, "row", ["step 2"]),
        ({"updates_per_epoch": 5, "epochs": 1}, "epoch", ["critic 5"]),  # the last may remain without a step
        (SHORT_EPOCHS, "epoch", SHORT_EPOCHS_END),  # some contain no step
        (SHORT_EPOCHS, "checkpoint", SHORT_EPOCHS_END),
        (SHORT_EPOCHS, "row", ["step 1", "step 2"]),
        ({**SELDOM, "epochs": 4, "sample_every": 2}, "sample", ["step 4", "step 8"]),
        ({**SELDOM, "epochs": 5, "sample_every": 2}, "sample", ["step 4", "step 8", "step 10"]),  # and after the last
        ({**SELDOM, "epochs": 4, "checkpoint_every": 3}, "checkpoint", ["step 6", "step 8"]),
        ({**SELDOM, "epochs": 3}, "sample", ["step 6"]),
        ({"max_steps": 3, "log_every": 1}, "row", ["step 1", "step 2", "step 3"]),  # in the middle of an epoch
        ({"max_steps": 3}, "epoch", ["step 2"]),
        ({"max_steps": 5, "epochs": None}, "epoch", ["step 2", "step 4"]),
        ({**SELDOM, "epochs": 9, "max_steps": 4}, "sample", ["step 4"]),  # at the end of one
        ({**SELDOM, "epochs": 9, "max_steps": 4}, "checkpoint", ["step 4"]),
    ],
)
def test_what_is_due(changes: dict[str, Any], what: str, expected: list[str]) -> None:
    assert [update for update, due in play(replace(PLAIN, **changes)) if what in due] == expected


def test_only_the_time_may_limit_a_run() -> None:
    cadence = replace(PLAIN, epochs=None)
    assert (cadence.total_updates, cadence.total_steps) == (None, None)
    assert not cadence.finished(Position(10**6, 2 * 10**6))
