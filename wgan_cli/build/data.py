"""The training samples, and their batches."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from wgan_cli.build.settle import split_dataset_settings
from wgan_cli.data import DATASETS, Dataset
from wgan_cli.data.batches import Batches
from wgan_cli.data.dataset import DataSpec
from wgan_cli.devices import fits
from wgan_cli.errors import InputError, SettingError, blame, list_names
from wgan_cli.parameters import bind, choose
from wgan_cli.settings import DatasetUse, Settings
from wgan_cli.training.streams import Purpose, Streams


def load_dataset(settings: Settings) -> tuple[Dataset, DatasetUse]:
    """Load the dataset, and check that it fits the other settings.

    Raises:
        SettingError: If it cannot be loaded, or does not fit.
    """
    own, use = split_dataset_settings(settings.dataset)
    with blame("dataset.root", own.get("root")):
        dataset = bind(choose(DATASETS, own, "dataset"), own, "dataset")
    if use.conditional and dataset.class_names is None:
        raise SettingError("dataset.conditional", True, f"there are no classes: {dataset.why_no_classes}")
    for key in ("batch_size", "generator_batch_size"):
        if (size := getattr(settings, key)) > len(dataset.train):
            raise SettingError(key, size, f"must be at most {len(dataset.train):,}, the number of training images")
    return dataset, use


def require_same_data(dataset: Mapping[str, Any], then: DataSpec, now: DataSpec) -> None:
    """Check that the samples have not changed since the run was started.

    Raises:
        InputError: If they have.
    """
    if then == now:
        return
    if then.count != now.count:
        how = f"there were {then.count:,} training images, and now there are {now.count:,}"
    elif (then.shape, then.num_classes) != (now.shape, now.num_classes):
        how = f"they were {then.shape} of {then.num_classes} classes, and now they are {now.shape} of {now.num_classes}"
    elif then.class_names and now.class_names and then.class_names != now.class_names:
        how = f"their classes were {list_names(then.class_names)}, and now they are {list_names(now.class_names)}"
    else:
        how = f"there are still {now.count:,}, but their pixels or classes differ"
    where = f" in {dataset['root']}" if "root" in dataset else ""
    raise InputError(f"the images of dataset {dataset['name']}{where} have changed since the checkpoint: {how}")


def build_batches(
    dataset: Dataset, use: DatasetUse, settings: Settings, streams: Streams, *, generator_needs_real: bool
) -> tuple[Batches, Batches]:
    """Build the batches for the critic's and for the generator's updates, each in its own order."""
    device = streams.device
    stored = dataset.train.to(device) if fits(dataset.train.nbytes, device) else dataset.train
    labels = dataset.train_labels.to(stored.device) if use.conditional and dataset.train_labels is not None else None
    orders = Streams(streams.seed, torch.device("cpu"))  # so that a run can be resumed on another device

    def build(size: int, order: Purpose, flips: Purpose, with_samples: bool) -> Batches:
        flip = partial(streams.at, flips) if use.flip else None
        return Batches(stored, size, device, partial(orders.at, order), labels, flip, with_samples=with_samples)

    generator_size = settings.generator_batch_size or settings.batch_size
    return (
        build(settings.batch_size, "critic images", "critic flips", with_samples=True),
        build(generator_size, "generator images", "generator flips", with_samples=generator_needs_real),
    )
