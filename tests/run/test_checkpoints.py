import errno
import io
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import bits, images_info, make_rules, make_state, train_for
from wgan_cli.parameters import SettingError
from wgan_cli.run import archive
from wgan_cli.run.checkpoints import (
    Checkpoint,
    link_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    peek,
    save_checkpoint,
)
from wgan_cli.run.failure import RunFailedError

CONFIG: dict[str, Any] = {"seed": 3, "optimizer": {"betas": (0.0, 0.9), "critic_learning_rate": None}, "name": "ä"}


def save(path: Path, updates: int = 3) -> Path:
    """Write the state after so many updates of a small run."""
    state = train_for(make_state(ema=True, optimizer="adam"), make_rules(), updates)
    save_checkpoint(path, Checkpoint(CONFIG, images_info(), state.state_dict()))
    return path


def test_round_trip(tmp_path: Path) -> None:
    state = train_for(make_state(ema=True, optimizer="adam"), make_rules(), 5)
    save_checkpoint(tmp_path / "a.pt", Checkpoint(CONFIG, images_info(), state.state_dict()))
    loaded = load_checkpoint(tmp_path / "a.pt", "checkpoint")
    assert loaded.config == CONFIG
    assert loaded.images == images_info()
    assert bits(loaded.state) == bits(state)
    assert {"wgan-cli", "torch"} <= loaded.versions.keys()
    other = make_state(ema=True, optimizer="adam", seed=1)
    other.load_state_dict(loaded.state)
    rules = make_rules()
    assert bits(train_for(other, rules, 4)) == bits(train_for(state, rules, 4))
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_it_is_an_archive_without_compression_that_torch_reads_safely(tmp_path: Path) -> None:
    content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
    assert content["config"] == CONFIG
    assert all(type(value) is str for value in content["versions"].values())


def test_more_classes_than_any_size_of_an_image(tmp_path: Path) -> None:
    images = replace(images_info(), num_classes=20_000)
    state = make_state().state_dict()
    save_checkpoint(tmp_path / "a.pt", Checkpoint(CONFIG, images, state))
    assert load_checkpoint(tmp_path / "a.pt", "checkpoint").images == images


# Writing.


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullFile(io.FileIO):
    """A file that has room for a hundred bytes."""

    def write(self, data: Any, /) -> int:
        super().write(bytes(data[:100]))
        full_disk()
        return 0


def failing_write(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        return FullFile(path, "wb") if mode == "wb" else usual(path, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(failing_write, id="write"),
        pytest.param(lambda patch: patch.setattr(os, "fsync", full_disk), id="fsync"),
        pytest.param(lambda patch: patch.setattr(Path, "replace", full_disk), id="rename"),
    ],
)
def test_a_write_that_fails_leaves_what_was_there(
    fail: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.pt")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        fail(patch)
        with pytest.raises(RunFailedError, match=r"could not save .*a\.pt, which needs .* MB: No space left on device"):
            save(path, updates=5)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_last_is_another_name_of_the_epochs_checkpoint(tmp_path: Path) -> None:
    first, last = save(tmp_path / "epoch_0001.pt"), tmp_path / "last.pt"
    link_checkpoint(first, last)
    assert last.samefile(first)
    second = save(tmp_path / "epoch_0002.pt", updates=5)
    link_checkpoint(second, last)
    link_checkpoint(second, last)  # again: a run that went on after its last epoch
    assert last.samefile(second)
    assert not last.samefile(first)
    before = second.read_bytes()
    save(last, updates=6)  # a stop in the middle of the next epoch leaves the epoch's own file alone
    assert second.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"epoch_0001.pt", "epoch_0002.pt", "last.pt"}


def test_last_is_a_copy_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path / "epoch_0001.pt")
    monkeypatch.setattr(os, "link", full_disk)
    link_checkpoint(first, tmp_path / "last.pt")
    assert (tmp_path / "last.pt").read_bytes() == first.read_bytes()
    assert not (tmp_path / "last.pt").samefile(first)
    assert {file.name for file in tmp_path.iterdir()} == {"epoch_0001.pt", "last.pt"}


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path / "epoch_0001.pt")
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full_disk)
        failing_write(patch)
        with pytest.raises(OSError, match="No space left"):
            link_checkpoint(first, tmp_path / "last.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["epoch_0001.pt"]


# Reading what is none, or a damaged or a crafted one.


class Payload:
    """Unpickled by a careless reader, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def text(path: Path) -> None:
    path.write_text("hello")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    tear(save(path))


def tear(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flipped_bit(path: Path) -> None:
    flip(save(path))


def flip(path: Path) -> None:
    """One bit of the middle of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        tensors = [entry for entry in archive.infolist() if "/data/" in entry.filename]
        largest = max(tensors, key=lambda entry: entry.file_size)
    data = bytearray(path.read_bytes())
    (name_length, extra_length) = struct.unpack_from("<HH", data, largest.header_offset + 26)
    data[largest.header_offset + 30 + name_length + extra_length + largest.file_size // 2] ^= 1
    path.write_bytes(data)


def encrypted(path: Path) -> None:
    """One bit says that an entry is encrypted."""
    data = bytearray(save(path).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def compressed(path: Path) -> None:
    with zipfile.ZipFile(save(path)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def other_dictionary(path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(3)}, "epoch": 3}, path)


def other_format(path: Path) -> None:
    torch.save({"format": 99, "config": {}, "images": {}, "state": {}, "versions": {}}, path)


def zipped_payload(path: Path) -> None:
    torch.save({"config": Payload(path.with_name("owned")), "state": {}}, path)


def bare_payload(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(path.with_name("owned"))))


def legacy_payload(path: Path) -> None:
    torch.save({"config": Payload(path.with_name("owned"))}, path, _use_new_zipfile_serialization=False)


FOREIGN = [
    text, empty, truncated, flipped_bit, compressed, other_archive, tensor, other_dictionary, other_format,
    zipped_payload, bare_payload, legacy_payload,
    encrypted,
]  # fmt: skip


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_no_checkpoint_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "a.pt")
    with pytest.raises(SettingError) as refused:
        load_checkpoint(tmp_path / "a.pt", "resume")
    assert refused.value.key == "resume"
    assert str(tmp_path / "a.pt")[:40] in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_the_payload_would_have_worked(tmp_path: Path) -> None:
    """Or the tests above would prove nothing."""
    bare_payload(tmp_path / "a.pt")
    pickle.loads((tmp_path / "a.pt").read_bytes()).close()
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "missing",
    [
        "config",
        "state",
        "format",
        "images",
        "versions",
    ],
)
def test_one_that_lacks_a_part_is_refused(missing: str, tmp_path: Path) -> None:
    content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
    del content[missing]
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(SettingError):
        load_checkpoint(tmp_path / "a.pt", "checkpoint")


def test_what_never_ends_is_refused_at_once(tmp_path: Path) -> None:
    """A part that stands in itself, and one that stands twice in the next, sixty times over."""
    doubled: list[object] = [torch.zeros(1)]
    for _ in range(60):
        doubled = [doubled, doubled]
    endless: list[object] = []
    endless.append(endless)
    for name, part in (("doubled", doubled), ("endless", endless)):
        content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
        content["state"]["ema"] = part
        torch.save(content, tmp_path / f"{name}.pt")
        assert isinstance(load_checkpoint(tmp_path / f"{name}.pt", "resume").state["ema"], list)  # read, and harmless


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(1).expand(10**12),
        lambda: torch.zeros(4096)[:1].expand(64, 64),
        lambda: torch.zeros(9).as_strided((3, 3), (2, 1)),
        lambda: torch.zeros(4, device="meta"),
        lambda: torch.zeros(4).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8),
    ],
    ids=["stride 0", "stride 0 in a large memory", "overlapping", "meta", "sparse", "quantised"],
)
def test_tensors_that_are_not_what_they_claim_to_be(make: Callable[[], torch.Tensor], tmp_path: Path) -> None:
    content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
    with warnings.catch_warnings(action="ignore"):  # that torch will have no quantised ones some day
        content["state"]["x"] = [make()]
        torch.save(content, tmp_path / "a.pt")
    with pytest.raises(SettingError, match="not what they claim to be"):
        load_checkpoint(tmp_path / "a.pt", "resume")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(2, 3), torch.zeros(2, 3).T, torch.zeros(2, 1, 4), torch.zeros(()), torch.zeros(0, 3),
     torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)],
    ids=lambda tensor: str(tuple(tensor.shape)),
)  # fmt: skip
def test_tensors_of_any_order_in_memory_may_be_saved(tensor: torch.Tensor, tmp_path: Path) -> None:
    content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
    content["state"]["x"] = tensor
    torch.save(content, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt", "resume").state["x"].stride() == tensor.stride()


def test_settings_are_no_tensors(tmp_path: Path) -> None:
    """Comparing one of 10¹² equal numbers with a setting would take as many bytes."""
    content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
    for seed in (torch.zeros(1), torch.zeros(1).expand(10**12)):
        content["config"]["seed"] = seed
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(SettingError, match=r"has tensors that are not|tensors where settings should be"):
            load_checkpoint(tmp_path / "a.pt", "resume")
        assert peek(tmp_path / "a.pt") is None


@pytest.mark.parametrize("tenths", range(10))
def test_a_file_that_was_cut_short_is_refused(tenths: int, tmp_path: Path) -> None:
    data = save(tmp_path / "a.pt").read_bytes()
    for length in (len(data) * tenths // 10, len(data) - 1 - tenths):
        (tmp_path / "a.pt").write_bytes(data[:length])
        with pytest.raises(SettingError, match="is no checkpoint, or a damaged one"):
            load_checkpoint(tmp_path / "a.pt", "resume")
        assert peek(tmp_path / "a.pt") is None


def unchanged_or_refused(path: Path, data: bytes, flips: Iterable[tuple[int, int]]) -> int:
    """Flip one bit at a time; return how often the file was refused. Otherwise, nothing read may differ."""
    path.write_bytes(data)
    good = load_checkpoint(path, "checkpoint")
    refused = 0
    for position, bit in flips:
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            read = load_checkpoint(path, "checkpoint")
        except SettingError:
            refused += 1
        else:
            assert bits(read.state) == bits(good.state), (position, bit)
            assert (read.config, read.images) == (good.config, good.images), (position, bit)
    return refused


def test_no_flipped_bit_in_the_content_is_read(tmp_path: Path) -> None:
    """Every entry's own bytes are under a checksum."""
    data = save(tmp_path / "a.pt").read_bytes()
    flips = []
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        for entry in archive.infolist():
            lengths = struct.unpack_from("<HH", data, entry.header_offset + 26)
            begins = entry.header_offset + 30 + sum(lengths)
            flips += [(begins + entry.file_size * part // 7, part) for part in range(7) if entry.file_size > part]
    assert len(flips) > 300
    assert unchanged_or_refused(tmp_path / "a.pt", data, flips) == len(flips)


def test_no_flipped_bit_in_the_directory_makes_another_content(tmp_path: Path) -> None:
    """What says where the entries lie, and what they are, is under none: a weight's entry, bit by bit."""
    data = save(tmp_path / "a.pt").read_bytes()
    begins = data.rindex(b"PK\x01\x02", 0, data.index(b"/data/3", data.index(b"PK\x01\x02")))
    flips = [(begins + byte, bit) for byte in range(46) for bit in range(8)]
    assert unchanged_or_refused(tmp_path / "a.pt", data, flips) > 150


# Finding.


def run_with(folder: Path, **updates: int) -> dict[str, Path]:
    """A run's folder with checkpoints after so many updates."""
    (folder / "checkpoints").mkdir()
    return {name: save(folder / "checkpoints" / f"{name}.pt", count) for name, count in updates.items()}


def test_a_folder_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no checkpoints/last\.pt"):
        newest_checkpoint(tmp_path, "resume")
    with pytest.raises(SettingError, match="does not exist"):
        newest_checkpoint(tmp_path / "nope", "resume")
    last = run_with(tmp_path, epoch_0001=3, last=5)["last"]
    for path in (tmp_path, last):
        file, found = newest_checkpoint(path, "resume")
        assert (file, found.state["critic_updates"]) == (last, 4)  # and one of the generator's


@pytest.mark.parametrize("damage", [empty, tear, flip, text, Path.unlink])
def test_the_newest_intact_one_is_used_and_the_others_are_named(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = run_with(tmp_path, epoch_0001=3, epoch_0002=6, epoch_9999=9, epoch_10000=12, last=15)
    for name in ("last", "epoch_10000"):
        damage(files[name])
    file, found = newest_checkpoint(tmp_path, "resume")
    assert (file, found.state["critic_updates"]) == (files["epoch_9999"], 6)
    if damage is not Path.unlink:
        (record,) = caplog.records
        for name in ("last", "epoch_10000", "epoch_9999"):
            assert str(files[name]) in record.message
        with pytest.raises(SettingError, match=r"last\.pt"):  # a file that is named is that file
            newest_checkpoint(files["last"], "resume")


def test_an_older_one_that_is_used_is_never_used_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = run_with(tmp_path, epoch_0001=3, epoch_0002=6, last=9)
    flip(files["last"])
    assert newest_checkpoint(tmp_path, "resume")[0] == files["epoch_0002"]
    assert len(caplog.records) == 1
    tear(files["last"])
    assert newest_checkpoint(tmp_path, "resume")[0] == files["epoch_0002"]
    assert len(caplog.records) == 2


def test_an_epoch_that_was_saved_and_not_yet_named_the_last_is_the_newest(tmp_path: Path) -> None:
    files = run_with(tmp_path, epoch_0001=3, epoch_0002=6, last=3)
    assert newest_checkpoint(tmp_path, "resume")[0] == files["epoch_0002"]
    tear(files["epoch_0002"])
    assert newest_checkpoint(tmp_path, "resume")[0] == files["last"]


def test_nothing_intact(tmp_path: Path) -> None:
    for file in run_with(tmp_path, epoch_0001=3, last=6).values():
        tear(file)
    message = r"has no intact checkpoint: .*last\.pt is no checkpoint, .*; nor is any other of its 2 checkpoints"
    with pytest.raises(SettingError, match=message):
        newest_checkpoint(tmp_path, "resume")


def test_a_look_at_a_checkpoint_reads_no_tensors(tmp_path: Path) -> None:
    """Weights that are not as they were are not noticed, and what cannot be read at all is."""
    flipped_bit(tmp_path / "a.pt")
    seen = peek(tmp_path / "a.pt")
    assert seen is not None
    assert (seen.config, seen.images) == (CONFIG, images_info())
    for damage in (text, empty, truncated, bare_payload, other_format):
        damage(tmp_path / "a.pt")
        assert peek(tmp_path / "a.pt") is None
    assert not (tmp_path / "owned").exists()


def test_too_little_memory_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An intact checkpoint must not give way to an older one; of a small file it is not believed."""

    def load(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    run_with(tmp_path, epoch_0001=3, last=6)
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(SettingError, match="has no intact checkpoint"):
        newest_checkpoint(tmp_path, "resume")
    monkeypatch.setattr(archive, "SMALL", 0)
    with pytest.raises(MemoryError, match=r"out of memory while reading .*last\.pt"):
        newest_checkpoint(tmp_path, "resume")


def test_a_disk_that_fails_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    save(tmp_path / "a.pt")
    monkeypatch.setattr(zipfile.ZipFile, "testzip", failing)
    with pytest.raises(OSError, match="Input/output error"):
        load_checkpoint(tmp_path / "a.pt", "resume")


def test_a_name_in_a_file_moves_no_cursor(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as packed:
        packed.writestr("\x1b[31mEVIL", b"x")
        packed.infolist()[0].external_attr = 0  # as in what torch writes
    data = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(data.replace(b"EVILx", b"EVILy"))
    with pytest.raises(SettingError, match="EVIL") as refused:
        load_checkpoint(tmp_path / "a.pt", "resume")
    assert "\x1b" not in str(refused.value)
