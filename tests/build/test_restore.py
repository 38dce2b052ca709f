import functools
from pathlib import Path
from typing import Any

import pytest
import torch

import wgan_cli
from tests.builders import PLAIN, bits, saved, settings, train_for
from wgan_cli.build import build_run
from wgan_cli.data import DATASETS
from wgan_cli.parameters import SettingError
from wgan_cli.restore import load_generator, resume_run
from wgan_cli.run.checkpoints import load_checkpoint
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.session import Run


@pytest.fixture(autouse=True)
def _rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits take half a second each time."""
    monkeypatch.setitem(DATASETS, "glyphs", rendered)


rendered = functools.cache(DATASETS["glyphs"])


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Run, Path]:
    """A run that has come a few steps, and its folder."""
    run = build_run(settings())
    train_for(run.state, run.rules, 7)
    saved(run, tmp_path / "run" / "checkpoints" / "last.pt")
    return run, tmp_path / "run"


# From a checkpoint.


def test_the_generator_of_a_checkpoint_is_the_average(trained: tuple[Run, Path]) -> None:
    run, folder = trained
    for generator in (
        load_generator(folder),
        wgan_cli.load_generator(str(folder)),
        wgan_cli.load_generator(folder / "checkpoints" / "last.pt"),
    ):
        assert run.state.ema is not None
        assert bits(generator) == bits(run.state.ema)
        assert bits(generator) != bits(run.state.generator)
        assert not generator.training
        assert generator.latent_dim == 3
        assert not any(tensor.is_meta or tensor.requires_grad for tensor in generator.state_dict().values())
        assert generator(torch.zeros(2, 3)).shape == (2, 3, 12, 12)


def test_without_an_average_it_is_the_generator(tmp_path: Path) -> None:
    run = build_run(settings(ema=False))
    assert bits(load_generator(saved(run, tmp_path / "a.pt"))) == bits(run.state.generator)


def test_no_checkpoint(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nope"):
        with pytest.raises(ValueError, match="checkpoint="):
            wgan_cli.load_generator(path)
    with pytest.raises(ValueError, match="device=banana"):
        wgan_cli.load_generator(tmp_path, device="banana")


IMAGES = {"shape": (3, 12, 12), "num_classes": None, "count": 14, "digest": ""}


def crafted(path: Path, **changes: Any) -> Path:
    """Write a checkpoint whose parts were exchanged."""
    content = torch.load(saved(build_run(settings()), path), weights_only=True)
    torch.save({**content, **changes}, path)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"generator": {**PLAIN["generator"], "hidden_sizes": [6, 6]}}},
        {"config": {"generator": {**PLAIN["generator"], "name": "os.system"}}},
        {"config": {"generator": {**PLAIN["generator"], "_target_": "os.system"}}},
        {"config": {"generator": {**PLAIN["generator"], "latent_dim": 10**9}}},
        {"config": {}},
        {"state": {"ema": {}, "generator": {}}},
        {"state": {"generator": {"last.weight": torch.zeros(1)}}},
        {"images": {**IMAGES, "num_classes": 10}},
        {"images": {**IMAGES, "num_classes": -1}},
        {"images": {**IMAGES, "num_classes": 0}},
        {"images": {**IMAGES, "num_classes": "a"}},
        {"images": {**IMAGES, "num_classes": True}},
        {"images": {**IMAGES, "shape": (1, 12, 12)}},
        {"images": {**IMAGES, "shape": (3, "a", 12)}},
        {"images": {**IMAGES, "shape": (3, 10**6, 10**6)}},
        {"images": {**IMAGES, "shape": ()}},
        {"images": {**IMAGES, "count": 0}},
        {"images": {}},
        {"state": [1]},
        {"config": {"generator": 3}},
        {"images": {**IMAGES, "shape": 3}},
    ],
    ids=str,
)
def test_a_crafted_checkpoint_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = crafted(tmp_path / "a.pt", **changes)
    with pytest.raises(SettingError) as refused:
        load_generator(path)
    assert refused.value.key == "checkpoint"


def test_huge_networks_are_not_allocated(tmp_path: Path) -> None:
    """A hundred layers of 16,384 by 16,384: 107 GB, if anybody believed it."""
    huge = {**PLAIN["generator"], "hidden_sizes": [16384] * 100}
    with pytest.raises(SettingError, match="does not hold the generator that it describes"):
        load_generator(crafted(tmp_path / "a.pt", config={"generator": huge}))


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    """The weights have the right shape, 400 million numbers, and are one number that is repeated."""
    wide = {"name": "mlp", "latent_dim": 16384, "hidden_sizes": [16384], "normalization": "none"}
    shapes = {
        "layers.0.weight": (16384, 16384), "layers.0.bias": (16384,), "last.weight": (432, 16384), "last.bias": (432,)
    }  # fmt: skip
    weights = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    path = crafted(tmp_path / "a.pt", config={"generator": wide}, state={"ema": weights})
    assert path.stat().st_size < 100_000
    with pytest.raises(SettingError):
        load_generator(path)


# Going on.


def test_a_run_goes_on_from_its_checkpoint_alone(trained: tuple[Run, Path]) -> None:
    run, folder = trained
    other = settings(epochs=9, batch_size=2, seed=77, generator={"name": "dcgan"}, max_minutes=3.0)
    resumed, _ = resume_run(RunFolder(folder), other, ["resume", "epochs", "max_minutes"])
    assert bits(resumed.state) == bits(run.state)
    assert (resumed.cadence.epochs, resumed.max_minutes, resumed.batch_size, resumed.seed) == (9, 3.0, 4, 5)
    assert resumed.config == {**run.config, "epochs": 9}  # max_minutes is this process's
    assert bits(train_for(resumed.state, resumed.rules, 5)) == bits(train_for(run.state, run.rules, 5))


@pytest.mark.parametrize(
    "key",
    [
        "log.every",
        "sample.every",
        "checkpoint.every",
        "checkpoint.every_minutes",
        "checkpoint.keep",
        "max_steps",
        "device",
        "precision",
    ],
)
def test_what_a_resumed_run_may_change(key: str, trained: tuple[Run, Path]) -> None:
    run, folder = trained
    top, _, leaf = key.partition(".")
    changed = {"max_steps": 50, "device": "cpu", "precision": "bf16"}.get(key, 5)
    other = {**PLAIN["checkpoint"], "every": 7, leaf: changed} if leaf else changed
    other = {"every": 5} if top in ("log", "sample") else other
    resumed, _ = resume_run(RunFolder(folder), settings(**{top: other}), [key])
    expected = {**run.config[top], leaf: changed} if leaf else changed
    assert resumed.config[top] == expected  # and the rest of a group is the checkpoint's


@pytest.mark.parametrize(
    "key", ["loss", "seed", "critic.hidden_sizes", "batch_size", "ema", "n_critic", "dataset.limit"]
)
def test_what_it_may_not(key: str, trained: tuple[Run, Path]) -> None:
    _, folder = trained
    with pytest.raises(SettingError, match=rf"resume=.*keeps its {key}; it may change epochs"):
        resume_run(RunFolder(folder), settings(), ["epochs", key])


def test_a_checkpoint_that_does_not_fit_itself(trained: tuple[Run, Path]) -> None:
    _, folder = trained
    last = folder / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    content["state"]["critic"].popitem()
    torch.save(content, last)
    with pytest.raises(SettingError, match="does not fit") as refused:
        resume_run(RunFolder(folder), settings(), [])
    assert refused.value.key == "resume"


def test_settings_of_a_checkpoint_are_checked_like_any_others(trained: tuple[Run, Path]) -> None:
    _, folder = trained
    last = folder / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    for config in ({**content["config"], "batch_size": 0}, {**content["config"], "loss": {"name": "os.system"}}, {}):
        torch.save({**content, "config": config}, last)
        with pytest.raises(SettingError):
            resume_run(RunFolder(folder), settings(), [])
    torch.save(content, last)
    assert load_checkpoint(last, "").config == content["config"]
