from itertools import accumulate, product

import pytest

from wgan_cli.training.schedule import CriticSchedule, Position

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
def test_sums_and_complete_steps(schedule: CriticSchedule) -> None:
    counted = [0, *accumulate(schedule.updates_in(step) for step in range(1200))]
    assert [schedule.updates_until(step) for step in range(1201)] == counted
    for updates in range(700):  # a step counts only if all of its updates are among them
        steps = schedule.steps_in(updates)
        assert schedule.updates_until(steps) <= updates < schedule.updates_until(steps + 1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_only_positions_on_the_way_can_be_reached(schedule: CriticSchedule) -> None:
    position, reached = Position(), {Position()}
    while position.step < 9:
        complete = schedule.generator_is_next(position)
        position = position.count_step() if complete else position.count_critic_update()
        reached.add(position)
    candidates = {Position(*numbers) for numbers in product(range(9), range(60), range(12))}
    assert len(reached & candidates) > 9
    assert {candidate for candidate in candidates if schedule.can_reach(candidate)} == reached & candidates
