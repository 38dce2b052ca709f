from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.builders import CPU, data_spec, settings
from wgan_cli.build.data import build_batches, load_dataset, require_same_data
from wgan_cli.build.settle import settle
from wgan_cli.data import DATASETS, Dataset
from wgan_cli.data.batches import Batches
from wgan_cli.errors import InputError, SettingError
from wgan_cli.settings import DatasetUse
from wgan_cli.training.streams import Streams

DATASET = settings().dataset


def load(**changed: Any) -> tuple[Dataset, DatasetUse]:
    return load_dataset(settle(settings(**changed)))


def build(seed: int = 5, generator_needs_real: bool = True, **changed: Any) -> tuple[Batches, Batches]:
    streams = Streams(seed, CPU)
    return build_batches(*load(**changed), settings(**changed), streams, generator_needs_real=generator_needs_real)


def test_batches_of_the_two_players() -> None:
    for_critic, for_generator = build(generator_batch_size=7)
    assert (len(for_critic[0].samples), len(for_generator[0].samples)) == (4, 7)
    assert (for_critic[0].classes, for_critic.per_epoch) == (None, 3)
    assert torch.equal(for_critic[0].samples, build()[0][0].samples)
    assert not torch.equal(for_critic[0].samples, build()[1][0].samples)
    assert not torch.equal(for_critic[0].samples, build(seed=6)[0][0].samples)
    for_generator = build(generator_needs_real=False, dataset={**DATASET, "conditional": True})[1]
    samples, classes = for_generator[0]
    assert (len(samples), classes is not None and classes.shape) == (0, (4,))


def test_flips() -> None:
    flipped = {**DATASET, "flip": True}
    for mine, others in zip(build(), build(dataset=flipped), strict=True):
        before, after = (torch.cat([batches[position].samples for position in range(6)]) for batches in (mine, others))
        changed = (before != after).flatten(1).any(1)
        assert 0 < changed.sum() < len(before)
        assert torch.equal(after, torch.where(changed.view(-1, 1, 1, 1), before.flip(3), before))


@pytest.mark.parametrize("key", ["batch_size", "generator_batch_size"])
def test_a_batch_has_at_most_all_images(key: str) -> None:
    load(**{key: 14})
    with pytest.raises(SettingError, match=f"{key}=15: must be at most 14, the number of training images"):
        load(**{key: 15})


def test_a_dataset_without_classes_cannot_be_conditional(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(4, 3, 12, 12, dtype=torch.uint8)
    monkeypatch.setitem(DATASETS, "bare", lambda: Dataset(images, images))
    load(dataset={"name": "bare"})
    with pytest.raises(SettingError, match=r"dataset.conditional=true: .*: its samples have no labels"):
        load(dataset={"name": "bare", "conditional": True})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 15}, "there were 14 training images, and now there are 15"),
        ({"shape": (3, 8, 8)}, r"they were \(1, 12, 12\) of None classes, and now they are \(3, 8, 8\) of None"),
        ({"class_names": ("a",)}, "they were .* of None classes, and now they are .* of 1"),
        ({"fingerprint": "?"}, "there are still 14, but their pixels or classes differ"),
    ],
)
def test_data_that_changed_since_the_checkpoint(changes: dict[str, Any], words: str) -> None:
    dataset = {"name": "mnist", "root": "here"}
    require_same_data(dataset, data_spec(), data_spec())
    message = f"^the images of dataset mnist in here have changed since the checkpoint: {words}"
    with pytest.raises(InputError, match=message):
        require_same_data(dataset, data_spec(), replace(data_spec(), **changes))
