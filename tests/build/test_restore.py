from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import wgan_cli
from tests.builders import PLAIN, bits, make_checkpoint, save_run, settings, train_for
from wgan_cli.build.restore import load_generator, resume_run
from wgan_cli.build.run import build_run
from wgan_cli.data import DATASETS, Dataset
from wgan_cli.errors import InputError, SettingError
from wgan_cli.run.checkpoints import Checkpoint, save_checkpoint
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.session import Run


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Run, RunFolder]:
    """A run after a few steps, and its folder."""
    run = build_run(settings())
    train_for(run.state, run.algorithm, 7)
    folder = RunFolder(tmp_path / "run")
    save_run(run, folder.last_checkpoint)
    return run, folder


def test_the_generator_of_a_checkpoint_is_the_average(trained: tuple[Run, RunFolder]) -> None:
    run, folder = trained
    assert run.state.ema is not None
    for path in (folder.path, str(folder.path), folder.last_checkpoint):
        generator = wgan_cli.load_generator(path)
        assert bits(generator) == bits(run.state.ema)
        assert bits(generator) != bits(run.state.generator)
        assert (generator.training, generator.latent_dim) == (False, 3)
        assert not any(tensor.is_meta or tensor.requires_grad for tensor in generator.state_dict().values())
        assert generator(torch.zeros(2, 3)).shape == (2, 3, 12, 12)


def test_a_run_without_an_average_has_its_generator(tmp_path: Path) -> None:
    run = build_run(settings(ema=None))
    assert bits(load_generator(save_run(run, tmp_path / "a.safetensors"))) == bits(run.state.generator)


def test_no_checkpoint(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nope", ""):
        with pytest.raises(ValueError, match="checkpoint="):
            wgan_cli.load_generator(path)
    with pytest.raises(ValueError, match="device=banana"):
        wgan_cli.load_generator(tmp_path, device="banana")


Change = Callable[[Checkpoint], Checkpoint]


def set_config(**changes: Any) -> Change:
    return lambda saved: replace(saved, config={**saved.config, **changes})


def set_generator(**changes: Any) -> Change:
    return set_config(generator={**PLAIN["generator"], **changes})


def set_data(**changes: Any) -> Change:
    return lambda saved: replace(saved, data=replace(saved.data, **changes))


def set_counts(**changes: Any) -> Change:
    return lambda saved: replace(saved, counts={**saved.counts, **changes})


HOSTILE: dict[str, Change] = {
    "other network": set_generator(hidden_sizes=[6, 6]),
    "network by a dotted path": set_generator(name="os.system"),
    "target": set_generator(_target_="os.system"),
    "latents of a billion": set_generator(latent_dim=10**9),
    "network of 107 GB": set_generator(hidden_sizes=[16384] * 100),
    "settings without a generator": lambda saved: replace(saved, config={}),
    "a generator that is a number": set_config(generator=3),
    "no tensors": lambda saved: replace(saved, tensors={}),
    "classes": set_data(class_names=["a"] * 10),
    "images of a trillion pixels": set_data(shape=(3, 10**6, 10**6)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_generator_is_refused(name: str, trained: tuple[Run, RunFolder]) -> None:
    run, folder = trained
    save_checkpoint(folder.last_checkpoint, HOSTILE[name](make_checkpoint(run)))
    message = r"does not contain the generator that it describes|not part of the program"
    with pytest.raises(SettingError, match=message) as refused:
        load_generator(folder.path)
    assert refused.value.key == "checkpoint"


def test_a_run_is_resumed_from_its_checkpoint_alone(trained: tuple[Run, RunFolder]) -> None:
    run, folder = trained
    other = settings(epochs=9, batch_size=2, seed=77, generator={"name": "dcgan"}, max_minutes=3.0)
    resumed, file = resume_run(folder.path, other, ["resume", "epochs", "max_minutes"])
    assert file == folder.last_checkpoint
    assert bits(resumed.state) == bits(run.state)
    assert resumed.settings == replace(run.settings, epochs=9, max_minutes=3.0, resume=str(folder.path))
    assert resumed.cadence.epochs == 9
    assert bits(train_for(resumed.state, resumed.algorithm, 5)) == bits(train_for(run.state, run.algorithm, 5))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("constraint", ["spectral_norm", "clip"])
def test_a_resumed_convolutional_run_has_the_same_bits(optimizer: str, constraint: str, tmp_path: Path) -> None:
    """Weights are channels last, and fused kernels need what optimizers store in the same layout."""
    parts = {"dataset": {**settings().dataset, "conditional": True}, "optimizer": {"name": optimizer}}
    networks = {"name": "dcgan", "width": 2}
    chosen = settings(**parts, generator=networks, critic=networks, constraint={"name": constraint})
    run = build_run(chosen)
    train_for(run.state, run.algorithm, 5)
    folder = RunFolder(tmp_path)
    save_run(run, folder.last_checkpoint)
    resumed, _ = resume_run(folder.path, chosen, [])
    for used in (resumed.state.generator_optimizer, resumed.state.critic_optimizer):
        for parameter in used.param_groups[0]["params"]:
            slots = [slot for slot in used.state[parameter].values() if slot.dim()]
            assert slots
            assert all(slot.stride() == parameter.stride() for slot in slots)
            assert parameter.dim() != 4 or parameter.is_contiguous(memory_format=torch.channels_last)
    assert bits(train_for(resumed.state, resumed.algorithm, 6)) == bits(train_for(run.state, run.algorithm, 6))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log.every", {"every": 5}),
        ("checkpoint.keep", {"every": 1, "every_minutes": None, "keep": 5}),
        ("max_steps", 50),
        ("precision", "bf16"),
    ],
)
def test_settings_that_a_resumed_run_may_change(key: str, value: Any, trained: tuple[Run, RunFolder]) -> None:
    _, folder = trained
    top, _, leaf = key.partition(".")
    given = {**value, **({"every": 7} if leaf == "keep" else {})} if leaf else value  # a key that is not given
    resumed, _ = resume_run(folder.path, settings(**{top: given}), [key])
    assert getattr(resumed.settings, top) == getattr(settings(**{top: value}), top)


@pytest.mark.parametrize("key", ["loss", "seed", "critic.hidden_sizes", "ema", "dataset.limit", "out"])
def test_settings_that_it_may_not_change(key: str, trained: tuple[Run, RunFolder]) -> None:
    _, folder = trained
    with pytest.raises(SettingError, match=rf"resume=.*a resumed run cannot change {key}; it can change epochs"):
        resume_run(folder.path, settings(), ["epochs", key])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: replace(saved, tensors={}), "does not fit the run that it describes"),
        (set_counts(critic_updates=99), "the run never reaches"),
        (set_counts(rows=99), "99 rows of metrics after"),
        (set_config(batch_size=0), "settings cannot be used: batch_size=0"),
        (set_config(loss={"name": "os.system"}), "has loss=os.system, which is not part of the program; add plugins="),
        (lambda saved: replace(saved, config={}), "settings cannot be used: epochs=null: is missing"),
        (set_data(fingerprint="?"), "have changed since the checkpoint"),
    ],
)
def test_a_hostile_run_is_refused(change: Change, message: str, trained: tuple[Run, RunFolder]) -> None:
    run, folder = trained
    save_checkpoint(folder.last_checkpoint, change(make_checkpoint(run)))
    with pytest.raises(InputError, match=message):
        resume_run(folder.path, settings(), [])


@pytest.mark.parametrize(
    ("root", "hint"), [("/photos", ""), ("photos", ", relative to the folder"), (None, ", relative")]
)
def test_data_that_was_moved(
    root: str | None, hint: str, trained: tuple[Run, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(root: str | None = None) -> Dataset:
        raise InputError(f"no such folder as {root}")

    monkeypatch.setitem(DATASETS, "moved", moved)
    run, folder = trained
    dataset = {"name": "moved", "root": root} if root else {"name": "moved"}
    save_checkpoint(folder.last_checkpoint, set_config(dataset=dataset)(make_checkpoint(run)))
    message = rf"^dataset\.root={root or 'null'}: no such folder as {root}{hint}"
    with pytest.raises(InputError, match=message) as refused:
        resume_run(folder.path, settings(), [])
    assert ("relative" in str(refused.value)) == bool(hint)
    assert str(refused.value).endswith("; if the images have moved, add dataset.root=FOLDER")
