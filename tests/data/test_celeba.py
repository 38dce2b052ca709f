import hashlib
import io
import shutil
import sys
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CelebA

from tests.data.files import RED, save, tree
from wgan_cli.data.celeba import celeba
from wgan_cli.errors import InputError

SIZE = 16
COUNTS = (12, 3, 5)  # of the training, validation and test part
PARTS = [part for part, count in enumerate(COUNTS) for _ in range(count)]
NAMES = [f"{i:06}.jpg" for i in range(1, len(PARTS) + 1)]
PARTITION = "".join(f"{name} {part}\n" for name, part in zip(NAMES, PARTS, strict=True))
FILES = ["img_align_celeba", *(f"img_align_celeba/{name}" for name in NAMES), "list_eval_partition.txt"]
COMPLETE = ["celeba", *(f"celeba/{name}" for name in FILES)]


def make_jpeg(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


JPEGS = {name: make_jpeg(number) for number, name in enumerate(NAMES)}
PIXELS = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in JPEGS.values()])


def write(root: Path, partition: str = PARTITION, archive: bytes | None = None) -> Path:
    """Write the list, and either the images or an archive."""
    folder = root / "celeba"
    (folder if archive is not None else folder / "img_align_celeba").mkdir(parents=True)
    (folder / "list_eval_partition.txt").write_bytes(partition.encode())
    if archive is not None:
        (folder / "img_align_celeba.zip").write_bytes(archive)
        return folder
    for name, data in JPEGS.items():
        (folder / "img_align_celeba" / name).write_bytes(data)
    return folder


@pytest.mark.usefixtures("read_only")
def test_an_archive_in_a_read_only_folder(tmp_path: Path) -> None:
    write(tmp_path, archive=pack())
    before = tree(tmp_path)
    for _ in range(2):
        assert len(celeba(root=str(tmp_path), image_size=SIZE).train) == COUNTS[0]
        assert tree(tmp_path) == before


def pack(prefix: str = "img_align_celeba/", **others: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in ({f"{prefix}{name}": data for name, data in JPEGS.items()} | others).items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture(autouse=True)
def no_gdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)


@pytest.fixture
def drive(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of Google Drive: a gdown that copies from it, and the MD5s of its files in torchvision."""
    folder = tmp_path_factory.mktemp("drive")
    files = {"img_align_celeba.zip": pack(), "list_eval_partition.txt": PARTITION.encode()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    listed = [(name, hashlib.md5(data).hexdigest(), name) for name, data in files.items()]

    def download(**given: Any) -> None:
        if not (folder / given["id"]).exists():
            Path(given["output"]).write_bytes(b"half")
            raise Exception("too many\nhave looked at it")
        shutil.copy(folder / given["id"], given["output"])

    monkeypatch.setattr(CelebA, "file_list", [*listed, ("never", "asked", "list_attr_celeba.txt")])
    gdown = SimpleNamespace(download=download, __spec__=ModuleSpec("gdown", None))
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    return folder


@pytest.mark.parametrize("partition", [PARTITION, PARTITION.replace(" ", "  ").replace("\n", " \r\n")])
def test_the_training_and_the_test_part_are_read_in_order(partition: str, tmp_path: Path) -> None:
    write(tmp_path, partition)
    dataset = celeba(root=str(tmp_path), image_size=SIZE)
    for images, expected in ((dataset.train, PIXELS[: COUNTS[0]]), (dataset.test, PIXELS[-COUNTS[2] :])):
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1), expected)
    assert (dataset.train_labels, dataset.test_labels, dataset.class_names) == (None, None, None)
    assert celeba(root=str(tmp_path), image_size=8, channels=1).test.shape == (COUNTS[2], 1, 8, 8)


def test_a_limit_decodes_only_a_seeded_subset(tmp_path: Path, decoded: list[str]) -> None:
    write(tmp_path)
    dataset, again = (celeba(root=str(tmp_path), image_size=8, limit=4) for _ in range(2))
    assert (len(dataset.train), len(dataset.test)) == (4, 4)
    assert set(decoded) <= {name for name, part in zip(NAMES, PARTS, strict=True) if part in (0, 2)}
    assert torch.equal(again.train, dataset.train)
    assert len(decoded) == 8  # the second time from the cache
    assert not torch.equal(celeba(root=str(tmp_path), image_size=8, limit=4, seed=1).train, dataset.train)


def test_the_parts_stay_apart_if_files_are_unreadable_or_missing(tmp_path: Path) -> None:
    folder = write(tmp_path) / "img_align_celeba"
    complete = celeba(root=str(tmp_path), image_size=SIZE)
    (folder / NAMES[2]).unlink()
    (folder / NAMES[5]).write_text("not an image")
    (folder / NAMES[-1]).write_bytes(b"")
    dataset = celeba(root=str(tmp_path), image_size=SIZE)
    assert torch.equal(dataset.train, complete.train[[0, 1, 3, 4, 6, 7, 8, 9, 10, 11]])
    assert torch.equal(dataset.test, complete.test[:-1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("000001.jpg 0\n000002.jpg\n", "damaged in line 2"),
        ("000001.jpg 3\n", "damaged in line 1"),
        ("000001.jpg 0\n000001.jpg 2\n", "damaged in line 2"),
        *((f"{name} 0\n", "damaged in line 1") for name in ("../000001.jpg", "/000001.jpg", "..\\000001.jpg", "..")),
        ("image_id,partition\n000001.jpg,0\n", "damaged in line 1"),
        ("00000ä.jpg 0\n", "damaged or unreadable"),
        ("000001.jpg 2\n", "no training images"),
    ],
)
def test_a_damaged_list_is_named(text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    with pytest.raises(InputError, match=rf"^{tmp_path}/celeba/list_eval_partition\.txt (is|has) {reason}"):
        celeba(root=str(tmp_path))


@pytest.mark.parametrize("prefix", ["img_align_celeba/", "", "a/b/", "../../", "/tmp/absolute/"])
def test_the_archive_is_unpacked_and_nothing_leaves_the_folder(prefix: str, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    others = {"../escaped.jpg": b"no", "__MACOSX/img_align_celeba/._000001.jpg": b"no", "img_align_celeba/": b""}
    write(root, archive=pack(prefix, **others))
    dataset = celeba(root=str(root), image_size=SIZE)
    np.testing.assert_array_equal(dataset.train.permute(0, 2, 3, 1), PIXELS[: COUNTS[0]])
    assert tree(root) == sorted([*COMPLETE, "celeba/img_align_celeba.zip"])
    assert [*tmp_path.iterdir(), *(tmp_path / "deep").iterdir()] == [tmp_path / "deep", root]
    assert not Path("/tmp/absolute").exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-30], "is damaged or truncated"),
        (lambda _: b"", "is damaged or truncated"),
        (lambda data: data.replace(JPEGS[NAMES[-1]], JPEGS[NAMES[-1]][::-1]), "is damaged or truncated"),  # a checksum
        (lambda data: data.replace(b".jpg", b".png"), "contains none of the images"),
    ],
)
def test_a_damaged_archive_is_named_and_leaves_nothing(damage: Any, reason: str, tmp_path: Path) -> None:
    folder = write(tmp_path, archive=damage(pack()))
    before = tree(tmp_path)
    with pytest.raises(InputError, match=rf"^{folder}/img_align_celeba\.zip {reason}"):
        celeba(root=str(tmp_path))
    assert tree(tmp_path) == before


def test_without_gdown_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\(it needs gdown: pip install gdown\); put ") as caught:
        celeba(root=str(tmp_path / "data"))
    for part in ("img_align_celeba.zip", "list_eval_partition.txt", f"into {tmp_path / 'data' / 'celeba'} yourself"):
        assert part in str(caught.value)
    assert tree(tmp_path) == []


@pytest.mark.parametrize("name", ["img_align_celeba.zip", "list_eval_partition.txt"])
def test_a_failed_download_leaves_nothing_and_can_be_repeated(name: str, tmp_path: Path, drive: Path) -> None:
    root, data = tmp_path / "data", (drive / name).read_bytes()
    (drive / name).unlink()
    with pytest.raises(InputError, match=r"^CelebA is missing, .* failed \(have looked at it\); put "):
        celeba(root=str(root))
    assert tree(tmp_path) == []
    (drive / name).write_bytes(data[:-1])  # another MD5
    with pytest.raises(InputError, match="File not found or corrupted"):
        celeba(root=str(root))
    assert tree(tmp_path) == []
    (drive / name).write_bytes(data)
    assert len(celeba(root=str(root), image_size=8).train) == COUNTS[0]
    assert tree(root) == COMPLETE


def test_only_missing_files_are_downloaded(tmp_path: Path, drive: Path) -> None:
    (write(tmp_path) / "list_eval_partition.txt").unlink()
    save(tmp_path / "celeba" / "img_align_celeba" / NAMES[0], size=(SIZE, SIZE))
    (drive / "img_align_celeba.zip").unlink()
    dataset = celeba(root=str(tmp_path), image_size=SIZE)
    assert (dataset.train[0].float() - torch.tensor(RED).view(3, 1, 1)).abs().max() <= 3  # the user's image
    assert tree(tmp_path) == COMPLETE
