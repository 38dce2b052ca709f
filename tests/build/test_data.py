from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.build.conftest import glyphs
from tests.builders import CPU, data_spec, settings
from wgan_cli.build.data import build_batches, load_dataset, require_same_data
from wgan_cli.build.settle import settle
from wgan_cli.data import DATASETS, Dataset
from wgan_cli.data.batches import Batches
from wgan_cli.errors import InputError, SettingError
from wgan_cli.settings import Settings
from wgan_cli.training.streams import Streams

DATASET = settings().dataset


def prepare(**changed: Any) -> Settings:
    return settle(settings(**changed))


def build(seed: int = 5, generator_needs_real: bool = True, **changed: Any) -> tuple[Batches, Batches]:
    chosen = prepare(**changed)
    loaded = load_dataset(chosen)
    return build_batches(*loaded, chosen, Streams(seed, CPU), generator_needs_real=generator_needs_real)


def test_batches_of_the_two_players() -> None:
    for_critic, for_generator = build(generator_batch_size=7)
    assert (len(for_critic[0].samples), len(for_generator[0].samples)) == (4, 7)
    assert for_critic[0].classes is None
    assert for_critic.per_epoch == 3
    assert torch.equal(for_critic[0].samples, build()[0][0].samples)
    assert not torch.equal(for_critic[0].samples, build()[1][0].samples)
    assert not torch.equal(for_critic[0].samples, build(seed=6)[0][0].samples)
    for_generator = build(generator_needs_real=False, dataset={**DATASET, "conditional": True})[1]
    assert len(for_generator[0].samples) == 0
    classes = for_generator[0].classes
    assert classes is not None
    assert classes.shape == (4,)


def test_flips() -> None:
    flipped = {**DATASET, "flip": True}
    for mine, others in zip(build(), build(dataset=flipped), strict=True):
        pairs = [
            pair for position in range(6) for pair in zip(mine[position].samples, others[position].samples, strict=True)
        ]
        assert all(torch.equal(after, before) or torch.equal(after, before.flip(2)) for before, after in pairs)
        assert 0 < sum(not torch.equal(after, before) for before, after in pairs) < len(pairs)


@pytest.mark.parametrize("key", ["batch_size", "generator_batch_size"])
def test_a_batch_has_at_most_all_images(key: str) -> None:
    load_dataset(prepare(**{key: 14}))
    with pytest.raises(SettingError, match=f"{key}=15: must be at most 14, the number of training images"):
        load_dataset(prepare(**{key: 15}))


def test_a_dataset_without_classes_cannot_be_conditional(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(image_size: int, channels: int, limit: int) -> Dataset:
        return Dataset(glyphs(image_size, channels, limit).train, glyphs(image_size, channels, limit).test)

    monkeypatch.setitem(DATASETS, "bare", bare)
    load_dataset(prepare(dataset={**DATASET, "name": "bare"}))
    with pytest.raises(SettingError, match=r"dataset.conditional=true: bare has no classes here"):
        load_dataset(prepare(dataset={**DATASET, "name": "bare", "conditional": True}))


def test_a_folder_that_cannot_be_read_is_blamed_on_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^dataset\.root=.*nope: ") as refused:
        load_dataset(prepare(dataset={"name": "image_folder", "root": str(tmp_path / "nope")}))
    assert refused.value.key == "dataset.root"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 15}, "there were 14 training images, and now there are 15"),
        ({"shape": (3, 8, 8)}, r"they were \(1, 12, 12\) of None classes, and now they are \(3, 8, 8\) of None"),
        ({"fingerprint": "?"}, "there are still 14, but some of them, or their decoded pixels, differ"),
    ],
)
def test_data_that_changed_since_the_checkpoint(changes: dict[str, Any], words: str) -> None:
    dataset = {"name": "mnist", "root": "here"}
    require_same_data(dataset, data_spec(), data_spec())
    message = f"^the images of dataset mnist in here have changed since the checkpoint: {words}"
    with pytest.raises(InputError, match=message):
        require_same_data(dataset, data_spec(), replace(data_spec(), **changes))
