import errno
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import bits, make_rules, make_state, train_for
from wgan_cli.parameters import SettingError
from wgan_cli.run.checkpoints import find_checkpoint, link_checkpoint, load_checkpoint, save_checkpoint
from wgan_cli.run.failure import RunFailedError

CONFIG: dict[str, Any] = {"seed": 3, "optimizer": {"betas": (0.0, 0.9), "critic_learning_rate": None}, "name": "ä"}
SHAPE = (1, 12, 12)


def save(path: Path, updates: int = 3) -> Path:
    """Write the state after so many updates of a small run."""
    state = train_for(make_state(ema=True, optimizer="adam"), make_rules(), updates)
    save_checkpoint(path, CONFIG, SHAPE, None, state.state_dict())
    return path


def test_round_trip(tmp_path: Path) -> None:
    state = train_for(make_state(ema=True, optimizer="adam"), make_rules(), 5)
    save_checkpoint(tmp_path / "a.pt", CONFIG, SHAPE, None, state.state_dict())
    loaded = load_checkpoint(tmp_path / "a.pt", "checkpoint")
    assert loaded.config == CONFIG
    assert loaded.image_shape == SHAPE
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
        with pytest.raises(RunFailedError, match=r"could not save .*a\.pt, .* MB: No space left on device"):
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
    data = save(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flipped_bit(path: Path) -> None:
    """One bit of the middle of the largest tensor."""
    with zipfile.ZipFile(save(path)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
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
    torch.save({"format": 99, "config": {}, "image_shape": SHAPE, "state": {}, "versions": {}}, path)


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
        "image_shape",
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
        content["state"] = {"ema": part}
        torch.save(content, tmp_path / f"{name}.pt")
        assert load_checkpoint(tmp_path / f"{name}.pt", "resume").state.keys() == {"ema"}  # read, and harmless


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1).expand(10**12), torch.zeros(4, device="meta")],
    ids=["stride 0", "meta"],
)
def test_tensors_that_are_not_what_they_claim_to_be(tensor: torch.Tensor, tmp_path: Path) -> None:
    content = torch.load(save(tmp_path / "a.pt"), weights_only=True)
    content["config"]["x"] = [tensor]
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(SettingError, match="not what they claim to be"):
        load_checkpoint(tmp_path / "a.pt", "resume")


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
            assert (read.config, read.image_shape) == (good.config, good.image_shape), (position, bit)
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


def test_a_folder_stands_for_its_last_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.pt"
    last.parent.mkdir()
    with pytest.raises(SettingError, match=r"no checkpoints/last\.pt"):
        find_checkpoint(tmp_path, "resume")
    last.write_bytes(b"")
    assert find_checkpoint(tmp_path, "resume") == last
    assert find_checkpoint(last, "resume") == last
    with pytest.raises(SettingError, match="does not exist"):
        find_checkpoint(tmp_path / "nope", "resume")
