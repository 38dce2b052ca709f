from typing import Any

import pytest

from tests.builders import settings
from wgan_cli.build.settle import build_cadence, check_parts, settle
from wgan_cli.constraints import CONSTRAINTS, Clip
from wgan_cli.errors import SettingError
from wgan_cli.run.cadence import Cadence
from wgan_cli.training.schedule import CriticSchedule


def test_a_null_that_refers_to_another_setting_is_replaced() -> None:
    settled = settle(settings())
    assert (settled.generator_batch_size, settled.clip_value) == (4, 0.2)
    assert settle(settled) == settled
    settled = settle(settings(generator_batch_size=7, constraint={"name": "clip"}))
    assert (settled.generator_batch_size, settled.clip_value) == (7, Clip().clip_value)
    settled = settle(settings(clip_value=0.003))
    assert settled.clip_value == settled.constraint["clip_value"] == 0.003


@pytest.mark.parametrize(
    ("limits", "epochs"),
    [({}, 8), ({"max_steps": 5}, None), ({"max_minutes": 0.5}, None), ({"epochs": 3, "max_steps": 5}, 3)],
)
def test_epochs_have_a_default_only_if_nothing_else_limits_a_run(limits: dict[str, Any], epochs: int | None) -> None:
    assert settle(settings(**{"epochs": None, **limits})).epochs == epochs


@pytest.mark.parametrize("constraint", sorted(set(CONSTRAINTS) - {"clip"}))
def test_clip_value_needs_a_constraint_that_clips(constraint: str) -> None:
    assert settle(settings(constraint={"name": constraint})).clip_value is None
    message = f"clip_value=0.1: constraint={constraint} does not clip; use clip_value=null or constraint=clip"
    with pytest.raises(SettingError, match=message):
        settle(settings(constraint={"name": constraint}, clip_value=0.1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"generator": {"name": "mlp", "image_size": 9}}, "generator.image_size: no such setting"),
        ({"generator": {"name": "mlp", "num_classes": 3}}, "generator.num_classes: no such setting"),
        ({"critic": {"name": "mlp", "hidden_sizes": [0]}}, r"critic.hidden_sizes\[0\]=0: must be a whole number"),
        ({"optimizer": {"name": "adam", "generator": 1}}, "optimizer.generator: no such setting"),
        ({"optimizer": {"name": "adm"}}, r"optimizer.name=adm: no such optimizer \(did you mean adam\?\)"),
        ({"dataset": {"name": "glyphs", "image_size": 7}}, "dataset.image_size=7: must be .* from 8 to 256"),
        ({"dataset": {"name": "glyphs", "flip": "no"}}, "dataset.flip=no: must be true or false"),
        ({"critic_warmup": {"updates": 5}}, "critic_warmup=.*: has no effect without steps or every"),
    ],
)
def test_mistakes_are_found_before_the_data_is_read(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_parts(settings(**changed))


def test_cadence() -> None:
    warmup = {"updates": 9, "steps": 3, "every": None}
    chosen = settings(max_steps=7, sample={"every": 3}, log={"every": 4}, n_critic=2, critic_warmup=warmup)
    assert build_cadence(chosen, 14) == Cadence(2, 7, 3, CriticSchedule(2, 9, 3, None), 4, 3, 1)
    assert build_cadence(settings(), 4).updates_per_epoch == 1
