import importlib
import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from wgan_cli.data import cache
from wgan_cli.data.dataset import Channels
from wgan_cli.data.image_folder import image_folder
from wgan_cli.parameters import SettingError

module = importlib.import_module("wgan_cli.data.image_folder")  # the package's attribute of that name is the function

SIZE = 16
RED = (200, 40, 20)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "wgan-cli"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as long as the test runs."""
    names: list[str] = []
    decode = module._decode

    def recording(path: Path, channels: int, image_size: int) -> cache.Images:
        names.append(path.name)
        return cast("cache.Images", decode(path, channels, image_size))

    monkeypatch.setattr(module, "_decode", recording)
    return names


def save(path: Path, color: int | tuple[int, ...] = RED, mode: str = "RGB", size: tuple[int, int] = (20, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def fill(folder: Path, count: int) -> Path:
    """Write ``count`` images of one value each, all different: i.png is of value 2 × i."""
    for i in range(count):
        save(folder / f"{i:03}.png", 2 * i, "L")
    return folder


def values(images: torch.Tensor) -> list[int]:
    """Return the values of images that are of one value each."""
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def load_one(folder: Path, channels: Channels = 3, size: int = SIZE) -> np.ndarray:
    dataset = image_folder(str(folder), image_size=size, channels=channels)
    assert dataset.train.shape == (1, channels, size, size)
    assert dataset.train.dtype == torch.uint8
    assert len(dataset.test) == 0
    return dataset.train[0].numpy()


def png(path: Path, depth: int, color: int, rows: bytes, size: tuple[int, int], **chunks: bytes) -> None:
    """Write a PNG by hand, for what Pillow cannot write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0)
    parts = {"IHDR": header, **chunks, "IDAT": zlib.compress(rows), "IEND": b""}
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name.encode() + data + struct.pack(">I", zlib.crc32(name.encode() + data))
            for name, data in parts.items()
        )
    )


def palette_with_transparency(path: Path) -> None:
    image = Image.new("P", (20, 24), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 10, 24))
    image.save(path, transparency=0)


def half(mode: str, opaque: tuple[int, ...], clear: tuple[int, ...]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        image = Image.new(mode, (20, 24), opaque)
        image.paste(clear, (0, 0, 10, 24))
        image.save(path)

    return write


def gif_of_two_frames(path: Path) -> None:
    frames = [Image.new("RGB", (20, 24), color) for color in (RED, (0, 0, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("name", "mode", "color", "rgb", "tolerance"),
    [
        ("a.png", "RGB", RED, RED, 0),
        ("a.PNG", "L", 90, (90, 90, 90), 0),
        ("a.png", "1", 1, (255, 255, 255), 0),
        ("a.png", "LA", (90, 255), (90, 90, 90), 0),
        ("a.png", "RGBA", (*RED, 255), RED, 0),
        ("a.png", "RGBA", (0, 0, 0, 0), (255, 255, 255), 0),
        ("a.png", "RGBA", (200, 0, 100, 51), (244, 204, 224), 1),
        ("a.png", "LA", (0, 51), (204, 204, 204), 1),
        ("a.png", "I;16", 257 * 100, (100, 100, 100), 0),
        ("a.tif", "I;16", 257 * 100, (100, 100, 100), 0),
        ("a.tif", "I;16B", 257 * 100, (100, 100, 100), 0),
        ("a.TIFF", "I", 257 * 100, (100, 100, 100), 0),
        ("a.tif", "CMYK", (0, 255, 255, 0), (255, 0, 0), 0),
        ("a.tif", "PA", (1, 0), (255, 255, 255), 0),
        ("a.jpg", "RGB", RED, RED, 3),
        ("a.JPEG", "L", 90, (90, 90, 90), 2),
        ("a.jpg", "CMYK", (0, 255, 255, 0), (255, 0, 0), 3),
        ("a.jpg", "CMYK", (0, 0, 0, 128), (127, 127, 127), 3),
        ("a.webp", "RGB", RED, RED, 6),
        ("a.bmp", "RGB", RED, RED, 0),
        ("a.gif", "RGB", RED, RED, 0),
    ],
)
def test_every_format_and_mode_shows_its_color(
    name: str, mode: str, color: int | tuple[int, ...], rgb: tuple[int, int, int], tolerance: int, tmp_path: Path
) -> None:
    save(tmp_path / name, color, mode)
    expected = np.array(rgb)[:, None, None]
    assert np.abs(load_one(tmp_path).astype(int) - expected).max() <= tolerance
    luma = round(float(np.dot((0.299, 0.587, 0.114), rgb)))
    assert np.abs(load_one(tmp_path, channels=1).astype(int) - luma).max() <= tolerance + 1


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("palette.png", palette_with_transparency),
        ("palette.gif", palette_with_transparency),
        ("alpha.png", half("RGBA", (*RED, 255), (0, 0, 0, 0))),
        ("alpha.webp", half("RGBA", (*RED, 255), (0, 0, 0, 0))),
        ("alpha.tif", half("RGBA", (*RED, 255), (0, 0, 0, 0))),
    ],
)
def test_transparency_shows_white(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    image = load_one(tmp_path).astype(int)
    assert (image[:, :, : SIZE // 2 - 2] >= 250).all()
    assert np.abs(image[:, :, SIZE // 2 + 2 :] - np.array(RED)[:, None, None]).max() <= 6


def test_a_transparent_color_is_white_in_grey_images_of_8_and_of_16_bits(tmp_path: Path) -> None:
    row = struct.pack(">8H", *[1000] * 8) + struct.pack(">8H", *[257 * 50] * 8)
    png(tmp_path / "16" / "a.png", 16, 0, (b"\0" + row) * 16, (16, 16), tRNS=struct.pack(">H", 1000))
    png(tmp_path / "8" / "a.png", 8, 0, (b"\0" + bytes([7] * 8 + [50] * 8)) * 16, (16, 16), tRNS=struct.pack(">H", 7))
    for folder in ("8", "16"):
        assert load_one(tmp_path / folder, channels=1)[0, 3].tolist() == [255] * 8 + [50] * 8


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif"])
def test_a_ramp_of_16_bits_is_not_clipped(name: str, tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / name)
    np.testing.assert_array_equal(load_one(tmp_path, channels=1, size=256)[0], (ramp / 257).round())


def test_colors_of_16_bits_keep_their_high_byte(tmp_path: Path) -> None:
    row = struct.pack(">3H", *(257 * value for value in RED)) * 16
    png(tmp_path / "a.png", 16, 2, (b"\0" + row) * 16, (16, 16))
    assert load_one(tmp_path)[:, 5, 5].tolist() == list(RED)


def test_the_first_frame_of_a_gif_counts(tmp_path: Path) -> None:
    gif_of_two_frames(tmp_path / "a.gif")
    assert load_one(tmp_path)[:, 8, 8].tolist() == list(RED)


def test_the_content_decides_not_the_extension(tmp_path: Path) -> None:
    save(tmp_path / "a.bmp").rename(tmp_path / "a.jpg")
    assert load_one(tmp_path)[:, 8, 8].tolist() == list(RED)


def test_a_jpeg_of_several_pictures_shows_its_first(tmp_path: Path) -> None:  # as some cameras and telephones write
    first, second = Image.new("RGB", (20, 24), RED), Image.new("RGB", (20, 24), "blue")
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert np.abs(load_one(tmp_path)[:, 8, 8].astype(int) - RED).max() <= 3


def quadrants() -> Image.Image:
    image = Image.new("L", (32, 32), 0)
    for value, corner in [(60, (0, 0)), (120, (16, 0)), (180, (16, 16)), (240, (0, 16))]:  # clockwise
        image.paste(value, (*corner, corner[0] + 16, corner[1] + 16))
    return image


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(
    ("orientation", "clockwise"),
    [(1, (60, 120, 180, 240)), (2, (120, 60, 240, 180)), (3, (180, 240, 60, 120)), (6, (240, 60, 120, 180))],
)
def test_exif_orientation_is_applied(orientation: int, clockwise: tuple[int, ...], name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quadrants().convert("RGB").save(tmp_path / name, exif=exif)
    image = load_one(tmp_path, channels=1)[0].astype(int)
    assert np.abs(image[[4, 4, 12, 12], [4, 12, 12, 4]] - clockwise).max() <= 6


@pytest.mark.parametrize(("size", "middle"), [((48, 16), (16, 0, 32, 16)), ((16, 40), (0, 12, 16, 28))])
def test_the_centre_is_cropped_at_full_height_or_width(
    size: tuple[int, int], middle: tuple[int, int, int, int], tmp_path: Path
) -> None:
    image = Image.new("L", size, 0)
    pattern = np.random.default_rng(0).integers(256, size=(16, 16), dtype=np.uint8)
    image.paste(Image.fromarray(pattern), middle)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_one(tmp_path, channels=1)[0], pattern)


def test_a_large_jpeg_is_decoded_smaller_and_still_sharp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (600, 512), "black")
    draw = ImageDraw.Draw(image)
    for x in range(0, 600, 64):
        draw.rectangle((x + 44, 0, x + 75, 511), fill="white")
    image.save(tmp_path / "a.jpg", quality=95)
    sizes = []
    opaque = module._opaque

    def recording(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return cast("Image.Image", opaque(image))

    monkeypatch.setattr(module, "_opaque", recording)
    stripes = load_one(tmp_path, channels=1, size=64)[0, 32].astype(int)
    assert sizes == [(150, 128)]
    assert (np.abs(stripes - 127.5) > 100).all()  # 4 pixels white, 4 black


def test_shrinking_averages(tmp_path: Path) -> None:
    checkered = (np.indices((640, 640)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkered).save(tmp_path / "a.png")
    assert np.abs(load_one(tmp_path, channels=1).astype(int) - 127.5).max() < 5


def test_folders_are_searched_at_any_depth_but_hidden_ones_and_other_files(tmp_path: Path) -> None:
    for i, name in enumerate(["a.png", "b/c/d.jpg", "b/.hidden.png", ".cache/e.png", "b/._a.png"]):
        save(tmp_path / name, 40 * i, "L")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.0)
    assert sorted(values(dataset.train)) == [0, 40]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.png", 10, "L")
    root = fill(tmp_path / "root", 1)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    assert sorted(values(image_folder(str(root), image_size=8, test_fraction=0.0).train)) == [0, 10]


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "root", 30)
    before = image_folder(str(root), image_size=8)
    walk = os.walk

    def backwards(*args: Any, **kwargs: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for place, folders, files in walk(*args, **kwargs):
            yield place, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    after = image_folder(str(root), image_size=8)
    assert torch.equal(before.train, after.train)
    assert torch.equal(before.test, after.test)


def test_the_split_is_seeded_and_loses_and_repeats_nothing(tmp_path: Path) -> None:
    root = str(fill(tmp_path, 40))
    first, again = (image_folder(root, image_size=8, test_fraction=0.25) for _ in range(2))
    other = image_folder(root, image_size=8, test_fraction=0.25, seed=1)
    assert (len(first.train), len(first.test)) == (30, 10)
    assert sorted(values(first.train) + values(first.test)) == list(range(0, 80, 2))
    assert values(first.test) == values(again.test)
    assert set(values(first.test)) != set(values(other.test))
    assert first.train_labels is None
    assert first.test_labels is None


@pytest.mark.parametrize(
    ("count", "fraction", "train"), [(1, 0.9, 1), (2, 0.99, 1), (3, 0.1, 3), (40, 0.0, 40), (40, 0.999, 1)]
)
def test_something_is_left_to_train_on(count: int, fraction: float, train: int, tmp_path: Path) -> None:
    dataset = image_folder(str(fill(tmp_path, count)), image_size=8, test_fraction=fraction)
    assert (len(dataset.train), len(dataset.test)) == (train, count - train)


def test_a_limit_decodes_a_seeded_subset_only(tmp_path: Path, decoded: list[str]) -> None:
    root = str(fill(tmp_path, 40))
    limited = image_folder(root, image_size=8, test_fraction=0.25, limit=4)
    assert len(decoded) == 8
    whole = image_folder(root, image_size=8, test_fraction=0.25)
    assert len(limited.train) == len(limited.test) == 4
    assert set(values(limited.train)) < set(values(whole.train))
    assert set(values(limited.test)) < set(values(whole.test))
    other = image_folder(root, image_size=8, test_fraction=0.25, limit=4, seed=1)
    assert set(values(other.train)) != set(values(limited.train))


def test_unreadable_files_are_named_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 12)
    (tmp_path / "sub").mkdir()
    whole = Image.effect_noise((64, 64), 50)
    whole.save(tmp_path / "sub" / "cut.png")
    whole.save(tmp_path / "sub" / "cut.jpg")
    for path in (tmp_path / "sub").iterdir():
        path.write_bytes(path.read_bytes()[:-500])
    (tmp_path / "empty.gif").touch()
    (tmp_path / "text.bmp").write_text("not an image")
    whole.save(tmp_path / "another_format.jpg", format="PPM")
    (tmp_path / "broken.webp").symlink_to(tmp_path / "nothing")
    Image.new("F", (20, 20), 0.5).save(tmp_path / "float.tif")
    with caplog.at_level(logging.WARNING):
        dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.5)
    assert sorted(values(torch.cat([dataset.train, dataset.test]))) == list(range(0, 24, 2))
    (record,) = caplog.records
    assert record.name == "wgan_cli.data.image_folder"
    message = record.getMessage()
    assert "7 of 19 images cannot be read" in message
    assert message.endswith("and 2 more")
    bad = ["sub/cut.png", "sub/cut.jpg", "empty.gif", "text.bmp", "another_format.jpg", "broken.webp", "float.tif"]
    assert sum(repr(name) in message for name in bad) == 5


def test_a_folder_where_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(
        SettingError, match=r"^dataset\.root=.*: 2 of 2 images cannot be read: .*'a\.png' \(not an image"
    ):
        image_folder(str(tmp_path))


@pytest.mark.parametrize("seed", range(6))
def test_a_training_part_that_cannot_be_read_is_replaced(seed: int, tmp_path: Path) -> None:
    save(tmp_path / "a.png", 10, "L")
    (tmp_path / "b.png").write_text("not an image")
    dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.5, seed=seed)
    assert values(dataset.train) == [10]
    assert len(dataset.test) == 0


@pytest.mark.parametrize("pixels", [1500, 900])  # 2,500 pixels are above the one and more than twice the other
def test_decompression_bombs_are_not_decoded(
    pixels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "bomb.png", 10, "L", (50, 50))
    save(tmp_path / "small.png", 20, "L", (20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    assert values(image_folder(str(tmp_path), image_size=8).train) == [20]
    assert "'bomb.png'" in caplog.text


@pytest.mark.parametrize(
    ("root", "message"),
    [("missing", "no such folder"), ("file.png", "not a folder"), ("empty", r"no images there; .*\.png, \.jpg, ")],
)
def test_a_root_without_images_is_refused(root: str, message: str, tmp_path: Path) -> None:
    save(tmp_path / "file.png")
    save(tmp_path / "empty" / ".hidden.png")
    with pytest.raises(SettingError, match=rf"^dataset\.root=.*{root}: {message}"):
        image_folder(str(tmp_path / root))


def test_a_second_run_decodes_nothing(tmp_path: Path, decoded: list[str], cache_folder: Path) -> None:
    root = str(fill(tmp_path, 10))
    first = image_folder(root, image_size=8)
    assert len(decoded) == 10
    assert sorted(path.suffix for path in cache_folder.iterdir()) == [".json", ".npy"]
    second = image_folder(root, image_size=8)
    assert len(decoded) == 10
    assert torch.equal(first.train, second.train)
    assert torch.equal(first.test, second.test)
    second.train.fill_(1)  # a private copy: what was cached stays
    assert torch.equal(first.train, image_folder(root, image_size=8).train)
    assert image_folder(root, image_size=8, test_fraction=0.5).test.shape[0] == 5
    assert len(decoded) == 10


@pytest.mark.parametrize(
    "change", ["content", "time", "added", "removed", "renamed", "image_size", "channels", "version"]
)
def test_a_change_decodes_again(
    change: str, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 10)
    settings: dict[str, Any] = {"image_size": 8, "channels": 3}
    image_folder(str(tmp_path), test_fraction=0.0, **settings)
    decoded.clear()
    path = tmp_path / "003.png"
    if change == "content":
        save(path, 255, "L", (30, 30))
    elif change == "time":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    elif change == "added":
        save(tmp_path / "new.png", 90, "L")
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(tmp_path / "new.png")
    elif change == "version":
        monkeypatch.setattr(module, "CACHE_VERSION", -1)
    else:
        settings[change] = {"image_size": 9, "channels": 1}[change]
    dataset = image_folder(str(tmp_path), test_fraction=0.0, **settings)
    assert len(decoded) == len(dataset.train) == {"added": 11, "removed": 9}.get(change, 10)
    assert (255 in values(dataset.train)) == (change == "content")


def test_the_warning_repeats_when_the_images_are_cached(
    tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 5)
    (tmp_path / "bad.png").write_text("not an image")
    messages, parts = [], []
    for _ in range(2):
        caplog.clear()
        dataset = image_folder(str(tmp_path), image_size=8, test_fraction=0.4)
        messages.append(caplog.messages)
        parts.append((values(dataset.train), values(dataset.test)))
    assert len(decoded) == 6
    assert messages[0] == messages[1] != []
    assert parts[0] == parts[1]


def test_what_may_become_readable_is_not_remembered_as_unreadable(tmp_path: Path, decoded: list[str]) -> None:
    fill(tmp_path, 5)
    (tmp_path / "late.png").symlink_to(tmp_path / "not there yet")
    for _ in range(2):
        image_folder(str(tmp_path), image_size=8)
    assert len(decoded) == 12


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def pickle(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.array([print], dtype=object), allow_pickle=True)


def reshape(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros((10, 3, 8, 7), np.uint8))


def retype(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros((10, 3, 8, 8), np.int8))


@pytest.mark.parametrize("damage", [truncate, empty, garble, Path.unlink, pickle, reshape, retype])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_cache_decodes_again_and_is_repaired(
    suffix: str, damage: Callable[[Path], None], tmp_path: Path, decoded: list[str], cache_folder: Path
) -> None:
    root = str(fill(tmp_path, 10))
    first = image_folder(root, image_size=8)
    damage(next(cache_folder.glob(f"*{suffix}")))
    for _ in range(2):
        assert torch.equal(image_folder(root, image_size=8).train, first.train)
    assert len(decoded) == 20


def test_without_a_folder_to_write_to_there_is_no_cache(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "root", 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert len(image_folder(str(root), image_size=8).train) == 3
    assert len(decoded) == 6


def test_a_full_disk_leaves_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert len(image_folder(str(fill(tmp_path, 3)), image_size=8).train) == 3
    assert list(cache_folder.glob("*.npy")) == list(cache_folder.glob(".*")) == []
