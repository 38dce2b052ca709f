import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from tests.data.files import never, require_consistent_limit, tree
from wgan_cli.data.mnist import fashion_mnist, kmnist, mnist
from wgan_cli.errors import InputError

FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
KINDS = {"MNIST": mnist, "FashionMNIST": fashion_mnist, "KMNIST": kmnist}


def idx(array: np.ndarray) -> bytes:
    """Lay out bytes as in MNIST's files: two zeros, 8 for bytes, the number of dimensions, big-endian sizes, data."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def make_arrays(train: int = 60) -> dict[str, np.ndarray]:
    random = np.random.default_rng(train)
    parts = [(256, (train, 28, 28)), (10, (train,)), (256, (20, 28, 28)), (10, (20,))]
    arrays = [random.integers(limit, size=size, dtype=np.uint8) for limit, size in parts]
    return dict(zip(FILES, arrays, strict=True))


def write(root: Path, arrays: dict[str, np.ndarray], kind: str = "MNIST") -> Path:
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    for name, array in arrays.items():
        (raw / name).write_bytes(idx(array))
    return raw


def test_each_dataset_reads_its_own_files_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "download", never)
    arrays = {kind: make_arrays(train=20 + i) for i, kind in enumerate(KINDS)}
    for kind in KINDS:
        write(tmp_path, arrays[kind], kind)
    for kind, load in KINDS.items():
        dataset = load(root=str(tmp_path))
        found = (dataset.train[:, 0], dataset.train_labels, dataset.test[:, 0], dataset.test_labels)
        for part, name in zip(found, arrays[kind], strict=True):
            np.testing.assert_array_equal(part, arrays[kind][name])
        assert dataset.train.dtype == torch.uint8
        assert len(dataset.class_names or ()) == 10
        assert load(root=str(tmp_path), image_size=32, channels=3).test.shape == (20, 3, 32, 32)
        require_consistent_limit(load, tmp_path)


def test_packed_files_are_unpacked_and_a_damaged_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "download", never)
    arrays = make_arrays()
    raw = write(tmp_path, arrays)
    packed = [raw / f"{name}.gz" for name in FILES[:3]]
    for file in packed:
        file.write_bytes(gzip.compress(file.with_suffix("").read_bytes()))
        file.with_suffix("").unlink()
    data, before = packed[2].read_bytes(), tree(tmp_path)
    packed[2].write_bytes(data[:-20])
    with pytest.raises(InputError, match=rf"{FILES[2]}\.gz is damaged"):
        mnist(root=str(tmp_path))
    assert tree(tmp_path) == before
    packed[2].write_bytes(data)
    np.testing.assert_array_equal(mnist(root=str(tmp_path)).train[:, 0], arrays[FILES[0]])
    assert tree(raw) == sorted([*FILES, *(file.name for file in packed)])


@pytest.mark.usefixtures("read_only")
def test_packed_files_in_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are unpacked once, into the user's cache."""
    monkeypatch.setattr(MNIST, "download", never)
    arrays = make_arrays()
    raw = write(tmp_path, arrays)
    packed = raw / f"{FILES[1]}.gz"
    packed.write_bytes(gzip.compress((raw / FILES[1]).read_bytes()))
    (raw / FILES[1]).unlink()
    before = tree(tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(mnist(root=str(tmp_path)).train_labels, arrays[FILES[1]])
        assert tree(tmp_path) == before
        packed.write_bytes(b"is not read again")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(InputError, match=r"is read-only, and you have no home folder .*; set XDG_CACHE_HOME"):
        mnist(root=str(tmp_path))


def no_home(path: Path) -> Path:
    if str(path).startswith("~"):
        raise RuntimeError("Could not determine home directory.")
    return path


@pytest.mark.parametrize("cut", [0, 3, 10, 16, 500])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(name: str, cut: int, tmp_path: Path) -> None:
    raw = write(tmp_path, make_arrays())
    data = (raw / name).read_bytes()
    (raw / name).write_bytes(data[: min(cut, len(data) - 1)])
    with pytest.raises(InputError, match=rf"^{raw / name} is damaged"):
        mnist(root=str(tmp_path))


@pytest.mark.parametrize("labels", [np.zeros(19, np.uint8), np.full(20, 10, np.uint8)])
def test_images_and_labels_that_do_not_fit_together_are_refused(labels: np.ndarray, tmp_path: Path) -> None:
    raw = write(tmp_path, {**make_arrays(), FILES[3]: labels})
    found = f"20 images of 28×28 and {len(labels)} labels"
    with pytest.raises(InputError, match=f"{raw}/t10k-images-idx3-ubyte and .* do not fit together: {found}"):
        mnist(root=str(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_download_can_be_repeated(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: MNIST) -> None:
        raw = write(Path(self.root), arrays, kind)
        (raw / f"{FILES[0]}.gz").write_bytes(b"the archive of the file")
        assert tree(tmp_path) != []
        if not online:
            raise RuntimeError("Error downloading\nno route")

    online = False
    arrays, root = make_arrays(), tmp_path / "data"
    monkeypatch.setattr(MNIST, "download", download)
    with pytest.raises(InputError, match=rf"^{kind} is missing, .* failed \(no route\); put ") as caught:
        KINDS[kind](root=str(root))
    assert all(part in str(caught.value) for part in (*FILES, f"into {root / kind / 'raw'} yourself"))
    assert tree(tmp_path) == []
    online = True
    np.testing.assert_array_equal(KINDS[kind](root=str(root)).train[:, 0], arrays[FILES[0]])
    assert tree(root) == sorted([kind, f"{kind}/raw", *(f"{kind}/raw/{name}" for name in FILES)])
