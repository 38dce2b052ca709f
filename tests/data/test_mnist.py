import gzip
import struct
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from tests.data.files import never, tree
from wgan_cli.data.dataset import Dataset
from wgan_cli.data.mnist import FILES, fashion_mnist, kmnist, mnist
from wgan_cli.parameters import SettingError

KINDS = [
    (mnist, "MNIST", MNIST),
    (fashion_mnist, "FashionMNIST", FashionMNIST),
    (kmnist, "KMNIST", KMNIST),
]


def idx(array: np.ndarray) -> bytes:
    """Lay an array of bytes out as MNIST's files are: two zeros, 8 for bytes, the dimensions, big-endian sizes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents(train: int = 60, test: int = 20) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        FILES[0]: random.integers(256, size=(train, 28, 28), dtype=np.uint8),
        FILES[1]: random.integers(10, size=train, dtype=np.uint8),
        FILES[2]: random.integers(256, size=(test, 28, 28), dtype=np.uint8),
        FILES[3]: random.integers(10, size=test, dtype=np.uint8),
    }


def write(root: Path, arrays: dict[str, np.ndarray], folder: str = "MNIST") -> Path:
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for name, array in arrays.items():
        (raw / name).write_bytes(idx(array))
    return raw


@pytest.mark.parametrize(("load", "folder", "theirs"), KINDS)
def test_files_are_read_to_the_byte_and_without_a_download(
    load: Callable[..., Dataset], folder: str, theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "download", never)
    arrays = contents()
    write(tmp_path, arrays, folder)
    dataset = load(root=str(tmp_path))
    assert dataset.train.dtype == torch.uint8
    assert dataset.train_labels is not None
    assert dataset.test_labels is not None
    assert dataset.train_labels.dtype == torch.int64
    np.testing.assert_array_equal(dataset.train[:, 0], arrays[FILES[0]])
    np.testing.assert_array_equal(dataset.train_labels, arrays[FILES[1]])
    np.testing.assert_array_equal(dataset.test[:, 0], arrays[FILES[2]])
    np.testing.assert_array_equal(dataset.test_labels, arrays[FILES[3]])
    for train, images, labels in (
        (True, dataset.train, dataset.train_labels),
        (False, dataset.test, dataset.test_labels),
    ):
        reference = theirs(str(tmp_path), train=train)
        assert torch.equal(images[:, 0], reference.data)
        assert torch.equal(labels, reference.targets)
    assert dataset.num_classes == 10


def test_each_of_a_shared_root_is_read_from_its_own_folder(tmp_path: Path) -> None:
    for i, (_, folder, _) in enumerate(KINDS):
        write(tmp_path, contents(train=10 + i), folder)
    assert [len(load(root=str(tmp_path)).train) for load, _, _ in KINDS] == [10, 11, 12]


def test_the_number_of_classes_does_not_depend_on_the_labels(tmp_path: Path) -> None:
    write(tmp_path, contents(train=3, test=1))
    assert mnist(root=str(tmp_path), limit=1).num_classes == 10


def test_packed_files_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "download", never)
    arrays = contents()
    raw = write(tmp_path, arrays)
    for name in FILES[:3]:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes()))
        (raw / name).unlink()
    np.testing.assert_array_equal(mnist(root=str(tmp_path)).train[:, 0], arrays[FILES[0]])
    assert sorted(path.name for path in raw.iterdir()) == sorted([*FILES, *(f"{name}.gz" for name in FILES[:3])])


def test_a_limit_chooses_a_seeded_subset_and_keeps_images_and_labels_together(tmp_path: Path) -> None:
    arrays = contents()
    write(tmp_path, arrays)
    dataset, other = mnist(root=str(tmp_path), limit=25), mnist(root=str(tmp_path), limit=25, seed=1)
    assert (len(dataset.train), len(dataset.test)) == (25, 20)
    assert not torch.equal(dataset.train, other.train)
    assert dataset.train_labels is not None
    labels = {image.tobytes(): label for image, label in zip(arrays[FILES[0]], arrays[FILES[1]], strict=True)}
    assert [labels[image.numpy().tobytes()] for image in dataset.train] == dataset.train_labels.tolist()


def test_size_and_channels_are_brought_about(tmp_path: Path) -> None:
    write(tmp_path, contents())
    assert mnist(root=str(tmp_path), image_size=32, channels=3).test.shape == (20, 3, 32, 32)


@pytest.mark.parametrize("cut", [0, 3, 10, 16, 500])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(name: str, cut: int, tmp_path: Path) -> None:
    raw = write(tmp_path, contents())
    data = (raw / name).read_bytes()
    (raw / name).write_bytes(data[: min(cut, len(data) - 1)])
    with pytest.raises(SettingError, match=rf"^dataset\.root=.*{name} is damaged"):
        mnist(root=str(tmp_path))


def test_images_and_labels_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {**contents(), FILES[3]: np.zeros(19, np.uint8)})
    with pytest.raises(SettingError, match="20 images of 28×28 and 19 labels"):
        mnist(root=str(tmp_path))


def test_a_damaged_packed_file_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    raw = write(tmp_path, contents())
    for name in FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes())[: -20 if name == FILES[2] else None])
        (raw / name).unlink()
    before = tree(tmp_path)
    with pytest.raises(SettingError, match=rf"{FILES[2]}\.gz is damaged"):
        mnist(root=str(tmp_path))
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route"), RuntimeError("a\nno route"), TimeoutError("no route")]
)
@pytest.mark.parametrize("existing", ["", "data", "data/{}/raw"])
@pytest.mark.parametrize(("load", "folder"), [kind[:2] for kind in KINDS])
def test_a_failed_download_leaves_the_folders_as_they_were(
    load: Callable[..., Dataset],
    folder: str,
    existing: str,
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail_half_way(self: MNIST) -> None:
        print("Downloading")
        Path(self.raw_folder).mkdir(parents=True)
        (Path(self.raw_folder) / FILES[0]).write_bytes(b"half")
        assert tree(tmp_path) != before
        raise error

    monkeypatch.setattr(MNIST, "download", fail_half_way)
    (tmp_path / existing.format(folder)).mkdir(parents=True, exist_ok=True)
    before = tree(tmp_path)
    root = tmp_path / "data"
    with pytest.raises(SettingError, match=r"^dataset\.root=.* the download failed \(.*no route") as caught:
        load(root=str(root))
    message = str(caught.value)
    assert "\n" not in message
    assert f"no {folder} there" in message
    assert str(root / folder / "raw") in message
    assert all(name in message for name in FILES)
    assert tree(tmp_path) == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("load", "folder"), [kind[:2] for kind in KINDS])
def test_a_download_is_moved_into_place_once_it_is_whole(
    load: Callable[..., Dataset], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = contents()
    root = tmp_path / "deep" / "data"

    def download(self: MNIST) -> None:
        assert not root.exists()
        write(Path(self.root), arrays, folder)
        (Path(self.raw_folder) / f"{FILES[0]}.gz").write_bytes(b"what it was unpacked from")

    monkeypatch.setattr(MNIST, "download", download)
    np.testing.assert_array_equal(load(root=str(root)).train[:, 0], arrays[FILES[0]])
    raw = f"deep/data/{folder}/raw"
    assert tree(tmp_path) == sorted(["deep", "deep/data", f"deep/data/{folder}", raw, *(f"{raw}/{f}" for f in FILES)])


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SettingError, match=r"^dataset\.root="):
        mnist(root=str(tmp_path / "data"))
