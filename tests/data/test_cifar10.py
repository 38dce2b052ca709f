import copyreg
import hashlib
import io
import pickle
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, utils

from tests.data.files import never, require_consistent_limit, tree
from wgan_cli.data.cifar10 import cifar10
from wgan_cli.errors import InputError

BATCHES = [name for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]]
NAMES = [*BATCHES, "batches.meta"]
FOLDER, ARCHIVE = str(CIFAR10.base_folder), str(CIFAR10.filename)
COMPLETE = sorted([FOLDER, *(f"{FOLDER}/{name}" for name in NAMES)])
PER_BATCH = 12
Files = dict[str, bytes]  # by name


def dump_pickle(content: object) -> bytes:
    """Pickle like the old NumPy of the published files, which had numbers for flags and a public core."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=2)
    pickler.dispatch_table = copyreg.dispatch_table.copy()
    pickler.dispatch_table[np.dtypes.UInt8DType] = lambda dtype: (np.dtype, ("u1", 0, 1), dtype.__reduce__()[2])
    pickler.dump(content)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")


def pack(files: Files) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Small files that torchvision takes for the published ones, and their archive, by name."""
    random, files = np.random.default_rng(0), {"batches.meta": dump_pickle({"label_names": [*"0123456789"]})}
    for name in BATCHES:
        images = random.integers(256, size=(PER_BATCH, 3072), dtype=np.uint8)
        files[name] = dump_pickle({"labels": random.integers(10, size=PER_BATCH).tolist(), "data": images})
    beside = {"../escaped": b"no", "cifar-10-batches-py/readme.html": b"read me", "data_batch_1": b"elsewhere"}
    files[ARCHIVE] = pack({f"{FOLDER}/{name}": data for name, data in files.items()} | beside)
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in BATCHES[:-1]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5[ARCHIVE])
    monkeypatch.setattr(utils, "download_url", never)
    return files


def write(root: Path, files: Files) -> Path:
    folder = root / FOLDER
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(files[name])
    return folder


@pytest.mark.usefixtures("read_only")
def test_an_archive_in_a_read_only_folder(tmp_path: Path, published: Files) -> None:
    (tmp_path / ARCHIVE).write_bytes(published[ARCHIVE])
    before = tree(tmp_path)
    assert len(cifar10(root=str(tmp_path)).train) == PER_BATCH * (len(BATCHES) - 1)
    assert tree(tmp_path) == before


def test_files_are_read_to_the_byte_as_torchvision_reads_them(tmp_path: Path, published: Files) -> None:
    write(tmp_path, published)
    dataset = cifar10(root=str(tmp_path))
    parts = {True: (dataset.train, dataset.train_labels), False: (dataset.test, dataset.test_labels)}
    for train, (images, labels) in parts.items():
        reference = CIFAR10(tmp_path, train=train)
        assert images.is_contiguous()
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1), reference.data)
        assert labels is not None
        assert labels.dtype == torch.int64
        assert labels.tolist() == reference.targets
    assert (dataset.class_names or ())[3] == "cat"
    assert cifar10(root=str(tmp_path), image_size=16, channels=1).test.shape == (PER_BATCH, 1, 16, 16)
    require_consistent_limit(cifar10, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_unpickled_if_one_file_is_not_the_published_one(
    name: str, tmp_path: Path, published: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = b"cpytest\nfail\n(Vunpickled\ntR."  # a pickle that calls pytest.fail
    with pytest.raises(pytest.fail.Exception, match="unpickled"):
        pickle.loads(payload)
    folder = write(tmp_path, {**published, name: payload})
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a file was unpickled"))
    with pytest.raises(InputError, match=rf"^{folder / name} is damaged or not the published file"):
        cifar10(root=str(tmp_path))
    assert (folder / name).read_bytes() == payload  # the user may want it


@pytest.mark.parametrize("existing", [[], NAMES[:3], ["batches.meta"]])
def test_only_the_published_archive_is_unpacked(existing: list[str], tmp_path: Path, published: Files) -> None:
    root = tmp_path / "data"
    folder = write(root, published)
    expected = cifar10(root=str(root))
    for name in set(NAMES) - set(existing):
        (folder / name).unlink()
    if not existing:
        folder.rmdir()
    (root / ARCHIVE).write_bytes(pack({f"{FOLDER}/{name}": b"other" for name in NAMES}))
    before = tree(tmp_path)
    with pytest.raises(InputError, match=rf"^{root / ARCHIVE} is damaged"):
        cifar10(root=str(root))
    assert tree(tmp_path) == before
    (root / ARCHIVE).write_bytes(published[ARCHIVE])
    assert torch.equal(cifar10(root=str(root)).train, expected.train)
    # Nothing else in the archive was written, wherever it points to.
    assert tree(tmp_path) == sorted(["data", f"data/{ARCHIVE}", *(f"data/{path}" for path in COMPLETE)])


def test_a_failed_download_can_be_repeated(tmp_path: Path, published: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_: str, folder: Path, name: str, __: str) -> None:
        (folder / name).write_bytes(published[ARCHIVE] if online else published[ARCHIVE][:100])
        assert tree(tmp_path) != []
        if not online:
            raise TimeoutError("no route")

    online = False
    root = tmp_path / "data"
    monkeypatch.setattr(utils, "download_url", download)
    with pytest.raises(InputError, match=r"^CIFAR-10 is missing, .* failed \(no route\); put ") as caught:
        cifar10(root=str(root))
    assert re.search(f"put {ARCHIVE} from https://.* into {root} yourself", str(caught.value))
    assert tree(tmp_path) == []
    online = True
    assert len(cifar10(root=str(root)).train) == 5 * PER_BATCH
    assert tree(root) == COMPLETE


def test_the_md5_of_a_download_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through torchvision's own download, except for the network."""
    (tmp_path / "server").write_bytes(b"another archive")
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(utils, "_urlretrieve", lambda _, name: shutil.copy(tmp_path / "server", name))
    with pytest.raises(InputError, match="File not found or corrupted"):
        cifar10(root=str(tmp_path / "data"))
    assert tree(tmp_path) == ["server"]
