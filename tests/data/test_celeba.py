import hashlib
import io
import logging
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CelebA

from tests.data.files import RED, save, tree
from wgan_cli.data import decode
from wgan_cli.data.cache import Pixels
from wgan_cli.data.celeba import celeba
from wgan_cli.parameters import SettingError

SIZE = 16
COUNTS = (12, 3, 5)  # of the training, validation and test part
PARTS = [part for part, count in enumerate(COUNTS) for _ in range(count)]
NAMES = [f"{i:06}.jpg" for i in range(1, len(PARTS) + 1)]
PARTITION = "".join(f"{name} {part}\n" for name, part in zip(NAMES, PARTS, strict=True))
WHOLE = sorted(["celeba", "celeba/img_align_celeba", *(f"celeba/img_align_celeba/{name}" for name in NAMES)])
LISTED = sorted([*WHOLE, "celeba/list_eval_partition.txt"])


def jpegs() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    files = {}
    for name in NAMES:
        file = io.BytesIO()
        Image.fromarray(random.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)).save(file, "JPEG")
        files[name] = file.getvalue()
    return files


def write(root: Path) -> Path:
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    (folder / "list_eval_partition.txt").write_text(PARTITION)
    for name, data in jpegs().items():
        (folder / "img_align_celeba" / name).write_bytes(data)
    return folder


def zipped(prefix: str = "img_align_celeba/", **others: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in ({f"{prefix}{name}": data for name, data in jpegs().items()} | others).items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture
def drive(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of Google Drive: a gdown that copies from it, and torchvision's MD5s of what is in it.

    The file `failure`, where it is there, is what gdown raises after half a file.
    """
    folder, package = tmp_path_factory.mktemp("drive"), tmp_path_factory.mktemp("package")
    files = {"img_align_celeba.zip": zipped(), "list_eval_partition.txt": PARTITION.encode()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    listed = [(name, hashlib.md5(data).hexdigest(), name) for name, data in files.items()]
    monkeypatch.setattr(CelebA, "file_list", [*listed, ("never", "asked", "list_attr_celeba.txt")])
    (package / "gdown.py").write_text(
        "import pathlib\n"
        "class DownloadError(Exception): pass\n"
        "def download(*, id, output, quiet, user_agent):\n"
        f"    folder = pathlib.Path({str(folder)!r})\n"
        "    data = (folder / id).read_bytes()\n"
        "    failing = (folder / 'failure').exists() and id.endswith('.zip')\n"
        "    pathlib.Path(output).write_bytes(data[: len(data) // 2] if failing else data)\n"
        "    if failing: raise DownloadError('too many\\nhave looked at it')\n"
    )
    monkeypatch.delitem(sys.modules, "gdown", raising=False)
    monkeypatch.syspath_prepend(package)
    return folder


@pytest.fixture
def no_gdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)


@pytest.mark.usefixtures("no_gdown")
def test_images_are_those_that_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path)
    # Labels of some kind or other, which torchvision wants to see and we do not.
    (folder / "identity_CelebA.txt").write_text("".join(f"{name} 1\n" for name in NAMES))
    for name, values in (("list_bbox_celeba", 4), ("list_landmarks_align_celeba", 10), ("list_attr_celeba", 40)):
        rows = "".join(f"{name} {'1 ' * values}".strip() + "\n" for name in NAMES)
        (folder / f"{name}.txt").write_text(f"{len(NAMES)}\nnames\n{rows}")
    files = sorted(folder.glob("*.txt"))
    assert {path.name for path in files} < {name for _, _, name in CelebA.file_list}
    monkeypatch.setattr(
        CelebA, "file_list", [("", hashlib.md5(path.read_bytes()).hexdigest(), path.name) for path in files]
    )
    dataset = celeba(root=str(tmp_path), image_size=SIZE)
    for split, images in (("train", dataset.train), ("test", dataset.test)):
        reference = np.stack([np.asarray(image) for image, _ in CelebA(tmp_path, split)])
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1), reference)
    assert (len(dataset.train), len(dataset.test)) == (COUNTS[0], COUNTS[2])
    assert (dataset.train_labels, dataset.test_labels, dataset.num_classes) == (None, None, None)


def test_the_centre_is_shown_in_any_size_and_in_grey(tmp_path: Path) -> None:
    folder = write(tmp_path) / "img_align_celeba"
    image = Image.new("RGB", (178, 218), RED)
    for edge in (0, 202):
        image.paste("blue", (0, edge, 178, edge + 16))
    for name in NAMES:
        image.save(folder / name, quality=100, subsampling=0)
    assert celeba(root=str(tmp_path)).train.shape == (COUNTS[0], 3, 64, 64)
    shown = celeba(root=str(tmp_path), image_size=32).train.float()
    assert (shown - torch.tensor(RED).view(3, 1, 1)).abs().max() <= 12
    assert celeba(root=str(tmp_path), image_size=8, channels=1).test.shape == (COUNTS[2], 1, 8, 8)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as long as the test runs."""
    names: list[str] = []
    original = decode._decode

    def recording(path: Path, channels: int, image_size: int) -> Pixels:
        names.append(path.name)
        return original(path, channels, image_size)

    monkeypatch.setattr(decode, "_decode", recording)
    return names


def test_a_limit_decodes_a_seeded_subset_only_and_the_cache_does_the_rest(tmp_path: Path, decoded: list[str]) -> None:
    write(tmp_path)
    dataset = celeba(root=str(tmp_path), image_size=8, limit=4)
    assert (len(dataset.train), len(dataset.test)) == (4, 4)
    assert len(decoded) == 8
    assert set(decoded) <= {name for name, part in zip(NAMES, PARTS, strict=True) if part in (0, 2)}
    assert torch.equal(celeba(root=str(tmp_path), image_size=8, limit=4).train, dataset.train)
    assert len(decoded) == 8
    assert not torch.equal(celeba(root=str(tmp_path), image_size=8, limit=4, seed=1).train, dataset.train)


def test_unreadable_and_missing_files_are_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, decoded: list[str]
) -> None:
    folder = write(tmp_path) / "img_align_celeba"
    whole = celeba(root=str(tmp_path), image_size=SIZE)
    (folder / NAMES[2]).unlink()
    (folder / NAMES[5]).write_text("not an image")
    (folder / NAMES[-1]).write_bytes(b"")
    (folder / NAMES[COUNTS[0]]).unlink()  # of the validation part, which nobody misses
    decoded.clear()
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            dataset = celeba(root=str(tmp_path), image_size=SIZE)
        (message,) = caplog.messages
        assert "3 of 17 images cannot be read" in message
        assert all(repr(NAMES[i]) in message for i in (2, 5, -1))
        assert torch.equal(dataset.train, whole.train[[0, 1, 3, 4, 6, 7, 8, 9, 10, 11]])
        assert torch.equal(dataset.test, whole.test[:-1])
    assert len(decoded) == 17


def test_no_image_at_all_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path) / "img_align_celeba"
    for name in NAMES:
        (folder / name).unlink()
    with pytest.raises(SettingError, match=r"^dataset\.root=.*: 17 of 17 images cannot be read"):
        celeba(root=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("000001.jpg 0\n000002.jpg\n", "damaged in line 2"),
        ("000001.jpg 3\n", "damaged in line 1"),
        ("000001.jpg 0\n000001.jpg 2\n", "damaged in line 2"),
        ("../000001.jpg 0\n", "damaged in line 1"),
        ("/000001.jpg 0\n", "damaged in line 1"),
        ("..\\000001.jpg 0\n", "damaged in line 1"),
        (".. 0\n", "damaged in line 1"),
        ("image_id,partition\n000001.jpg,0\n", "damaged in line 1"),
        ("00000ä.jpg 0\n", "damaged or unreadable"),
        ("", "no images to train on"),
        ("000001.jpg 2\n", "no images to train on"),
    ],
)
def test_a_damaged_list_is_named(text: str, reason: str, tmp_path: Path) -> None:
    (write(tmp_path) / "list_eval_partition.txt").write_text(text)
    with pytest.raises(SettingError, match=rf"^dataset\.root=.*list_eval_partition\.txt (is|has) {reason}"):
        celeba(root=str(tmp_path))


def test_other_ends_of_lines_and_more_spaces_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "list_eval_partition.txt").write_bytes(PARTITION.replace(" ", "  ").replace("\n", " \r\n").encode())
    assert len(celeba(root=str(tmp_path), image_size=8).train) == COUNTS[0]


@pytest.mark.usefixtures("no_gdown")
@pytest.mark.parametrize("prefix", ["img_align_celeba/", "", "a/b/", "../../", "/tmp/absolute/"])
def test_the_archive_is_unpacked_and_nothing_leaves_the_folder(prefix: str, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    (root / "celeba").mkdir(parents=True)
    (root / "celeba" / "list_eval_partition.txt").write_text(PARTITION)
    others = {"../escaped.jpg": b"no", "__MACOSX/img_align_celeba/._000001.jpg": b"no", "img_align_celeba/": b""}
    (root / "celeba" / "img_align_celeba.zip").write_bytes(zipped(prefix, **others))
    dataset = celeba(root=str(root), image_size=SIZE)
    reference = write(tmp_path / "reference").parent
    assert torch.equal(dataset.train, celeba(root=str(reference), image_size=SIZE).train)
    assert tree(root) == sorted([*LISTED, "celeba/img_align_celeba.zip"])
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "reference"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["data"]
    assert not Path("/tmp/absolute").exists()


def flipped(data: bytes) -> bytes:
    """With an error inside the last image, which the checksum of the archive's own tells."""
    place = data.rindex(b"\xff\xd9", 0, data.index(b"PK\x01\x02")) - 10
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def locked(data: bytes) -> bytes:
    """Marked as encrypted."""
    place = data.index(b"PK\x01\x02") + 8
    marked = data[:place] + struct.pack("<H", 1) + data[place + 2 :]
    return marked[:6] + struct.pack("<H", 1) + marked[8:]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-30], "damaged or truncated"),
        (lambda data: data[: len(data) // 2], "damaged or truncated"),
        (lambda _: b"", "damaged or truncated"),
        (flipped, "damaged or truncated"),
        (locked, "damaged or truncated"),
        (lambda _: zipped().replace(b".jpg", b".png"), "none of the images"),
    ],
)
def test_a_damaged_archive_is_named_and_leaves_nothing(
    damage: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "celeba"
    folder.mkdir()
    (folder / "list_eval_partition.txt").write_text(PARTITION)
    (folder / "img_align_celeba.zip").write_bytes(damage(zipped()))
    before = tree(tmp_path)
    with pytest.raises(SettingError, match=rf"^dataset\.root=.*img_align_celeba\.zip (is|holds) {reason}"):
        celeba(root=str(tmp_path))
    assert tree(tmp_path) == before
    (folder / "img_align_celeba.zip").write_bytes(zipped())
    assert len(celeba(root=str(tmp_path), image_size=8).train) == COUNTS[0]


@pytest.mark.usefixtures("no_gdown")
def test_without_gdown_the_message_names_it_and_where_the_files_belong(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(SettingError, match=r"^dataset\.root=.*\(it needs gdown: pip install gdown\); put ") as caught:
        celeba(root=str(root))
    message = str(caught.value)
    assert "\n" not in message
    assert "img_align_celeba.zip" in message
    assert "list_eval_partition.txt" in message
    assert f"into {root / 'celeba'} yourself" in message
    assert tree(tmp_path) == []


@pytest.mark.parametrize("existing", [".", "data", "data/celeba"])
def test_a_failed_download_leaves_the_folders_as_they_were_and_may_be_tried_again(
    existing: str, tmp_path: Path, drive: Path
) -> None:
    root = tmp_path / "data"
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    before = tree(tmp_path)
    (drive / "failure").touch()
    with pytest.raises(SettingError, match=r"^dataset\.root=.* the download failed \(have looked at it\); put "):
        celeba(root=str(root))
    assert tree(tmp_path) == before
    (drive / "failure").unlink()
    assert len(celeba(root=str(root), image_size=8).train) == COUNTS[0]
    assert tree(root) == LISTED


@pytest.mark.parametrize("name", ["img_align_celeba.zip", "list_eval_partition.txt"])
def test_a_download_that_is_not_the_published_file_is_refused(name: str, tmp_path: Path, drive: Path) -> None:
    (drive / name).write_bytes((drive / name).read_bytes()[:-1])
    with pytest.raises(SettingError, match="File not found or corrupted"):
        celeba(root=str(tmp_path / "data"))
    assert tree(tmp_path) == []


def test_only_what_is_missing_is_downloaded(tmp_path: Path, drive: Path) -> None:
    (write(tmp_path) / "list_eval_partition.txt").unlink()
    save(tmp_path / "celeba" / "img_align_celeba" / NAMES[0], size=(SIZE, SIZE))
    (drive / "img_align_celeba.zip").unlink()
    dataset = celeba(root=str(tmp_path), image_size=SIZE)
    assert (dataset.train[0].float() - torch.tensor(RED).view(3, 1, 1)).abs().max() <= 3  # the user's own
    assert tree(tmp_path) == LISTED
