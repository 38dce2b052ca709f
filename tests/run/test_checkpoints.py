import errno
import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from tests.builders import data_spec, make_algorithm, make_state, train_for
from tests.commands import names
from wgan_cli.errors import InputError, RunFailedError
from wgan_cli.run.checkpoints import (
    Checkpoint,
    find_checkpoint,
    link_checkpoint,
    peek,
    read_checkpoint,
    save_checkpoint,
)
from wgan_cli.training.schedule import Position

CONFIG: dict[str, Any] = {"seed": 3, "optimizer": {"betas": [0.0, 0.9], "critic_learning_rate": None}, "name": "ä"}


def save(path: Path, updates: int = 2, **tensors: Tensor) -> Path:
    """Save a checkpoint with these tensors alone."""
    counts = {"step": 1, "critic_updates": updates, "critic_updates_in_step": 0}
    save_checkpoint(path, Checkpoint(CONFIG, data_spec(), counts, tensors or {"x": torch.zeros(3)}))
    return path


def test_round_trip(tmp_path: Path) -> None:
    state = train_for(make_state(ema=True, optimizer="adam"), make_algorithm(), 5)
    tensors = {
        **state.tensors(),
        "whole": torch.arange(6),
        "truth": torch.tensor([True, False]),
        "half": torch.tensor([0.5, 1.5], dtype=torch.bfloat16),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "transposed": torch.arange(6.0).view(2, 3).T,
        "channels last": torch.arange(96.0).view(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    tensors["tied"] = tensors["transposed"]
    save_checkpoint(tmp_path / "a", Checkpoint(CONFIG, data_spec(), state.counts(), tensors))
    found = read_checkpoint(tmp_path / "a")
    assert (found.config, found.data, found.position) == (CONFIG, data_spec(), state.position)
    assert (found.counts, found.tensors.keys()) == (state.counts(), tensors.keys())
    assert {"wgan-cli", "torch"} <= found.versions.keys()
    for name, tensor in found.tensors.items():
        assert tensor.dtype == tensors[name].dtype
        assert torch.equal(tensor, tensors[name])
        assert tensor.is_contiguous()
    assert {tensor.dtype for tensor in state.tensors().values()} >= {torch.float32, torch.float64}
    assert names(tmp_path) == {"a"}


# Writing.


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("place", "name", "results", "is_renamed"),
    [
        (Path, "open", [DISK_FULL], False),
        (os, "fsync", [DISK_FULL], False),  # of the file
        (Path, "replace", [DISK_FULL], False),
        (os, "open", [DISK_FULL], True),
        (os, "fsync", [None, DISK_FULL], True),  # of the folder
    ],
)
def test_a_failed_save_leaves_the_old_checkpoint_or_the_complete_new_one(
    place: Any, name: str, results: list[Any], is_renamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a", x=torch.zeros(3))
    with monkeypatch.context() as patch:
        patch.setattr(place, name, Mock(side_effect=results))
        with pytest.raises(RunFailedError) as failed:
            save(path, x=torch.ones(10_000))
    assert str(failed.value) == f"could not save {path}, which needs 0.04 MB: No space left on device."
    assert names(tmp_path) == {"a"}
    assert torch.equal(read_checkpoint(path).tensors["x"], torch.ones(10_000) if is_renamed else torch.zeros(3))


@pytest.mark.parametrize("has_links", [True, False])
def test_last_becomes_another_name_of_a_checkpoint_or_its_copy(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = save(tmp_path / "old", x=torch.zeros(3)), save(tmp_path / "new", x=torch.ones(3))
    last = tmp_path / "last"
    if not has_links:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError))
    for place, name in ((Path, "replace"), (os, "fsync")):
        link_checkpoint(old, last)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, Mock(side_effect=DISK_FULL))
            with pytest.raises(OSError, match="No space left"):
                link_checkpoint(new, last)
        assert names(tmp_path) == {"old", "new", "last"}
        assert last.read_bytes() in (old.read_bytes(), new.read_bytes())
    for _ in range(2):  # a second time for a run that was continued after its last epoch
        link_checkpoint(new, last)
        assert last.read_bytes() == new.read_bytes()
        assert last.samefile(new) == has_links
    save(last, x=torch.zeros(1))  # a stop in the next epoch leaves the epoch's own file unchanged
    assert torch.equal(read_checkpoint(new).tensors["x"], torch.ones(3))


# Reading what is damaged, foreign or hostile.


def rewrite(path: Path, entries: Mapping[str, Any], **metadata: str) -> None:
    """Replace entries in the header of a file, or parts of its metadata, and leave the digest as it was."""
    content = path.read_bytes()
    end = 8 + struct.unpack_from("<Q", content)[0]
    header = {**json.loads(content[8:end]), **entries}
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[end:])


def refuse(path: Path) -> str:
    """Return why a file is refused: in one line that cannot move a terminal's cursor."""
    with pytest.raises(InputError) as refused:
        read_checkpoint(path)
    message = str(refused.value)
    assert message.isprintable()
    assert len(message) < 250
    return message


def rewrite_entry(dtype: str, size: int, stop: int) -> Callable[[Path], None]:
    return lambda path: rewrite(path, {"x": {"dtype": dtype, "shape": [size], "data_offsets": [0, stop]}})


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("hello, this is not a checkpoint"),
    "safetensors of others": lambda path: safetensors.torch.save_file({"x": torch.zeros(2)}, path, {"format": "pt"}),
    "later format": lambda path: rewrite(path, {}, format="wgan-cli \x1b[31m99" + 99 * " "),
    "pipe": replace_by_pipe,
    "a trillion numbers": rewrite_entry("F32", 10**12, 4 * 10**12),
    "a trillion numbers in 8 bytes": rewrite_entry("F32", 10**12, 8),
    "unknown type": rewrite_entry("\x1b[31mF32", 2, 8),
    "header of an exabyte": lambda path: path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:]),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"x"),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_files_that_are_not_checkpoints(make: Callable[[Path], object], tmp_path: Path) -> None:
    path = save(tmp_path / "a", x=torch.zeros(2), y=torch.ones(2))
    make(path)
    allowed = ("is not a checkpoint of wgan-train", "is not a file", "has format 'wgan-cli ?[31m99")
    assert refuse(path).startswith(allowed)
    assert peek(path) is None


UNUSABLE = {
    "config": {
        "hello": "Expecting value",
        '{"epochs": NaN}': "NaN is not a JSON number",
        '{"a":' * 10**5: "maximum recursion depth exceeded",
        "[1]": "config must be an object",
    },
    "versions": {"null": "versions must be an object"},
    "counts": {
        '{"step": -1}': "step must be a whole number from 0 to 2⁵³",
        '{"step": 1, "critic_updates": 9007199254740992}': "critic_updates must be a whole number from 0 to 2⁵³",
        '{"step": 1' + 5000 * "0" + "}": "digits",
    },
    "data": {
        '{"shape": [3, 0, 8]}': "data.shape[1]=0",
        '{"shape": [3], "class_names": []}': "data.class_names=[]",
        '{"shape": [3], "class_names": null, "count": 0}': "data.count=0",
        '{"shape": [3], "class_names": null, "count": 1}': "data.fingerprint",
        '{"\\u001b[31m": 1}': "data.?[31m: no such setting",
    },
}


@pytest.mark.parametrize("part", UNUSABLE)
def test_metadata_that_cannot_be_used(part: str, tmp_path: Path) -> None:
    for text, words in UNUSABLE[part].items():
        path = save(tmp_path / "a")
        rewrite(path, {}, **{part: text})
        message = refuse(path)
        assert message.startswith("is not a complete checkpoint (")
        assert words in message
        assert peek(path) is None


@pytest.mark.parametrize("part", ["config", "data", "counts", "versions", "digest"])
def test_metadata_that_is_missing(part: str, tmp_path: Path) -> None:
    with safe_open(save(tmp_path / "a"), framework="pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != part}
    safetensors.torch.save_file({}, tmp_path / "a", metadata)
    assert refuse(tmp_path / "a") == f"is not a complete checkpoint ('{part}')"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite(value: float, tmp_path: Path) -> None:
    tensors: Any = {"\x1b[31mx": torch.tensor([0.0, value])}
    path = save(tmp_path / "a", **tensors)
    assert refuse(path) == "contains numbers that are not finite, in ?[31mx; no run saves these"


def test_no_truncated_file_and_no_flipped_bit_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a", x=torch.rand(300), y=torch.rand(2, 3).double())
    content = path.read_bytes()
    for length in (*range(0, len(content), len(content) // 20), len(content) - 1):
        path.write_bytes(content[:length])
        assert refuse(path).startswith("is not a checkpoint of wgan-train, or it is damaged")
        assert peek(path) is None
    for index, position in enumerate(np.linspace(0, len(content) - 1, 200, dtype=int)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << index % 8
        path.write_bytes(damaged)
        refuse(path)


# Finding.


def make_folder(folder: Path, **updates: int) -> dict[str, Path]:
    """Make the folder of a run with checkpoints after so many critic updates."""
    (folder / "checkpoints").mkdir()
    return {name: save(folder / "checkpoints" / f"{name}.safetensors", count) for name, count in updates.items()}


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Flip the last bit of the last tensor."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_the_folder_of_a_run_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    files = make_folder(tmp_path, epoch_0001=3, last=5)
    for path, expected in ((tmp_path, "last"), (files["last"], "last"), (files["epoch_0001"], "epoch_0001")):
        assert find_checkpoint(path)[0] == files[expected]
    newest = save(tmp_path / "checkpoints/epoch_0002.safetensors", 6)  # not yet linked as the last
    assert find_checkpoint(tmp_path)[0] == newest
    tear(newest)
    assert find_checkpoint(tmp_path)[0] == files["last"]


@pytest.mark.parametrize("damage", [tear, flip, Path.unlink])
def test_the_newest_intact_checkpoint_is_used_and_the_others_are_named(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_folder(tmp_path, epoch_0001=3, epoch_0002=6, epoch_9999=9, epoch_10000=12, last=15)
    for name in ("last", "epoch_10000"):
        damage(files[name])
    assert find_checkpoint(tmp_path)[0] == files["epoch_9999"]
    if damage is Path.unlink:
        assert not caplog.records
        return
    (record,) = caplog.records
    for name in ("last", "epoch_10000", "epoch_9999"):
        assert str(files[name]) in record.message
    refuse(files["last"])  # a file that is named is that file
    for name in ("epoch_0001", "epoch_0002", "epoch_9999"):
        damage(files[name])
    message = r"^has no intact checkpoint: .*last\.safetensors is .*, and so are the 4 others$"
    with pytest.raises(InputError, match=message):
        find_checkpoint(tmp_path)


def test_peek_reads_no_tensors(tmp_path: Path) -> None:
    path = save(tmp_path / "a")
    flip(path)
    found = peek(path)
    assert found is not None
    assert (found.config, found.data, found.position, found.tensors) == (CONFIG, data_spec(), Position(1, 2, 0), {})


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        (Path, "open", PermissionError(errno.EACCES, "Permission denied")),
        (torch, "isfinite", RuntimeError("DefaultCPUAllocator: can't allocate memory")),
        (torch, "isfinite", MemoryError()),
    ],
)
def test_an_intact_checkpoint_that_cannot_be_read_now_is_not_passed_over(
    place: Any, name: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the run would be resumed from an older one."""
    make_folder(tmp_path, epoch_0001=3, last=6)
    monkeypatch.setattr(place, name, Mock(side_effect=error))
    with pytest.raises(type(error)) as raised:
        find_checkpoint(tmp_path)
    assert raised.value is error
