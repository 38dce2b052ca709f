from dataclasses import replace

import pytest

from wgan_cli.run.cadence import Cadence
from wgan_cli.run.progress import choose_numbers, format_numbers, format_position
from wgan_cli.training.schedule import CriticSchedule, Position

CADENCE = Cadence(8, None, 10, CriticSchedule(2), log_every=1, sample_every=1, checkpoint_every=1)
MEASURED = {"critic_loss": -0.43111, "penalty": 0.0, "generator_loss": 12.3456, "wasserstein_estimate": 0.43111}


def test_the_position() -> None:
    assert format_position(CADENCE, Position(1234, 25)) == "epoch 3/8  step 1,234"
    assert format_position(replace(CADENCE, epochs=None), Position(2, 4)) == "epoch 1  step 2"


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (200, "wasserstein_estimate 0.431, critic_loss -0.431, generator_loss 12.3"),
        (67, "wasserstein_estimate 0.431, critic_loss -0.431, generator_loss 12.3"),
        (66, "wasserstein_estimate 0.431, critic_loss -0.431"),
        (26, "wasserstein_estimate 0.431"),
        (25, "W 0.431"),
        (6, ""),
    ],
)
def test_numbers_have_the_names_of_their_columns_where_they_fit(room: int, shown: str) -> None:
    assert choose_numbers(MEASURED, room) == shown


def test_a_penalty_is_shown_only_if_there_is_one() -> None:
    assert "penalty" not in format_numbers(MEASURED, 4)
    assert format_numbers({**MEASURED, "penalty": 0.25}, 4)["penalty"] == "penalty 0.25"
    assert format_numbers(MEASURED, 4)["generator_loss"] == "generator_loss 12.35"
    assert choose_numbers({}, 80) == ""
