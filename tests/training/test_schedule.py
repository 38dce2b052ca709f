from itertools import accumulate

import pytest

from wgan_cli.training.schedule import CriticSchedule

AUTHORS = CriticSchedule(5, warmup_updates=100, warmup_steps=25, warmup_every=500)
SCHEDULES = [
    CriticSchedule(1),
    CriticSchedule(5),
    AUTHORS,
    CriticSchedule(2, 7, 3, None),
    CriticSchedule(2, 7, 0, 4),
    CriticSchedule(3, 1, 6, 5),  # fewer than usual
    CriticSchedule(1, 4, 1, 1),
]


def test_the_authors_schedule() -> None:
    """WassersteinGAN/main.py: `if gen_iterations < 25 or gen_iterations % 500 == 0: Diters = 100 else: opt.Diters`."""
    for step in range(2001):
        assert AUTHORS.updates_in(step) == (100 if step < 25 or step % 500 == 0 else 5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_sums_are_those_of_the_steps(schedule: CriticSchedule) -> None:
    counted = [0, *accumulate(schedule.updates_in(step) for step in range(1200))]
    assert [schedule.updates_until(step) for step in range(1201)] == counted


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_steps_are_whole_ones(schedule: CriticSchedule) -> None:
    """So many updates hold a step only if all of the step's are among them."""
    for updates in range(700):
        steps = schedule.steps_in(updates)
        assert schedule.updates_until(steps) <= updates < schedule.updates_until(steps + 1)
