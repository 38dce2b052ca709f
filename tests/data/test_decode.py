from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.data.files import RED, save
from wgan_cli.data import decode
from wgan_cli.data.decode import load_images
from wgan_cli.errors import InputError

SIZE = 16


def load_one(folder: Path, channels: int = 3, size: int = SIZE) -> Any:
    """Load the one file of a folder."""
    images, readable = load_images(folder, [path.name for path in folder.iterdir()], size, channels)
    assert images.shape == (1, channels, size, size)
    assert images.dtype == np.uint8
    assert readable.tolist() == [True]
    return images[0]


@pytest.mark.parametrize(
    ("name", "mode", "color", "rgb", "tolerance"),
    [
        ("a.png", "RGB", RED, RED, 0),
        ("a.PNG", "L", 90, (90, 90, 90), 0),
        ("a.png", "1", 1, (255, 255, 255), 0),
        ("a.png", "RGBA", (200, 0, 100, 51), (244, 204, 224), 1),
        ("a.png", "LA", (0, 51), (204, 204, 204), 1),
        ("a.tif", "I;16B", 257 * 100, (100, 100, 100), 0),
        ("a.TIFF", "I", 257 * 100, (100, 100, 100), 0),
        ("a.tif", "CMYK", (0, 255, 255, 0), (255, 0, 0), 0),
        ("a.tif", "PA", (1, 0), (255, 255, 255), 0),
        ("a.jpg", "RGB", RED, RED, 3),
        ("a.JPEG", "L", 90, (90, 90, 90), 2),
        ("a.jpg", "CMYK", (0, 255, 255, 0), (255, 0, 0), 3),
        ("a.jpg", "CMYK", (0, 0, 0, 128), (127, 127, 127), 3),
        ("a.bmp", "RGB", RED, RED, 0),
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


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.webp", "a.tif"])
def test_transparent_pixels_become_white(name: str, tmp_path: Path) -> None:
    half = Image.new("RGBA", (20, 24), (*RED, 255))
    half.paste((0, 0, 0, 0), (0, 0, 10, 24))
    (half.quantize() if name == "a.png" else half).save(tmp_path / name)  # GIF has a palette anyway
    image = load_one(tmp_path).astype(int)
    assert (image[:, :, : SIZE // 2 - 2] >= 250).all()
    assert np.abs(image[:, :, SIZE // 2 + 2 :] - np.array(RED)[:, None, None]).max() <= 6


@pytest.mark.parametrize(("kind", "factor"), [(np.uint8, 1), (np.uint16, 257)])
def test_a_transparent_color_becomes_white_in_grey_images(kind: type, factor: int, tmp_path: Path) -> None:
    row = np.array([7] * 8 + [50] * 8) * factor
    Image.fromarray(np.tile(row.astype(kind), (16, 1))).save(tmp_path / "a.png", transparency=7 * factor)
    assert load_one(tmp_path, channels=1)[0, 3].tolist() == [255] * 8 + [50] * 8


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif"])
def test_a_ramp_of_16_bits_is_not_clipped(name: str, tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / name)
    np.testing.assert_array_equal(load_one(tmp_path, channels=1, size=256)[0], (ramp / 257).round())


@pytest.mark.parametrize("name", ["a.gif", "a.mpo", "a.tif"])  # some cameras write MPO
def test_the_first_of_several_pictures_counts_and_the_content_decides(name: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (20, 24), RED), Image.new("RGB", (20, 24), "blue")
    first.save(tmp_path / name, save_all=True, append_images=[second])
    (tmp_path / name).rename(tmp_path / "a.bmp")  # whatever the extension
    assert np.abs(load_one(tmp_path)[:, 8, 8].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(
    ("orientation", "clockwise"),
    [(1, (60, 120, 180, 240)), (2, (120, 60, 240, 180)), (3, (180, 240, 60, 120)), (6, (240, 60, 120, 180))],
)
def test_exif_orientation_is_applied(orientation: int, clockwise: tuple[int, ...], name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quadrants = np.kron([[60, 120], [240, 180]], np.ones((16, 16))).astype(np.uint8)
    Image.fromarray(quadrants).convert("RGB").save(tmp_path / name, exif=exif)
    image = load_one(tmp_path, channels=1)[0].astype(int)
    assert np.abs(image[[4, 4, 12, 12], [4, 12, 12, 4]] - clockwise).max() <= 6


@pytest.mark.parametrize(("size", "middle"), [((48, 16), (16, 0, 32, 16)), ((16, 40), (0, 12, 16, 28))])
def test_the_centre_is_cropped_at_full_height_or_width(size: Any, middle: Any, tmp_path: Path) -> None:
    image = Image.new("L", size, 0)
    pattern = np.random.default_rng(0).integers(256, size=(16, 16), dtype=np.uint8)
    image.paste(Image.fromarray(pattern), middle)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_one(tmp_path, channels=1)[0], pattern)


def test_a_large_jpeg_is_decoded_smaller_and_still_sharp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = np.where((np.arange(600) - 44) % 64 < 32, 255, 0).astype(np.uint8)
    Image.fromarray(np.tile(stripes, (512, 1))).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    sizes, make_opaque = [], decode._make_opaque

    def record(image: Image.Image, white_point: int) -> Image.Image:
        sizes.append(image.size)
        return make_opaque(image, white_point)

    monkeypatch.setattr(decode, "_make_opaque", record)
    row = load_one(tmp_path, channels=1, size=64)[0, 32].astype(int)
    assert sizes == [(150, 128)]
    assert (np.abs(row - 127.5) > 100).all()  # 4 pixels white, 4 black


def test_shrinking_averages(tmp_path: Path) -> None:
    checkered = (np.indices((640, 640)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkered).save(tmp_path / "a.png")
    assert np.abs(load_one(tmp_path, channels=1).astype(int) - 127.5).max() < 5


def test_images_are_in_the_order_of_the_paths_and_unreadable_ones_are_named(
    tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for value in (110, 120, 130):
        save(tmp_path / "sub" / f"{value}.png", value, "L")
    (tmp_path / "bad.png").write_text("not an image")
    expected = f"{tmp_path}: 2 of 4 images cannot be read: 'bad.png' (not an image), 'gone.png' (No such file or direc"
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        images, readable = load_images(tmp_path, ["sub/130.png", "bad.png", "sub/110.png", "gone.png"], 8, 1)
        assert readable.tolist() == [True, False, True, False]
        assert readable.dtype == np.bool_
        assert images[:, 0, 0, 0].tolist() == [130, 110]
        assert [message.startswith(expected) for message in caplog.messages] == [True]
    assert len(decoded) == 4


def test_every_kind_of_unreadable_file_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    save(tmp_path / "bomb.png", size=(80, 80))  # of which Pillow warns
    save(tmp_path / "larger_bomb.png", size=(110, 110))  # more than twice as many pixels: it refuses
    noise = Image.effect_noise((64, 64), 50)
    for name in ("cut.png", "cut.jpg"):
        noise.save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-500])
    (tmp_path / "empty.gif").touch()
    (tmp_path / "text.bmp").write_text("not an image")
    noise.save(tmp_path / "another_format.jpg", format="PCX")
    (tmp_path / "broken.webp").symlink_to(tmp_path / "nothing")
    Image.new("F", (20, 20), 0.5).save(tmp_path / "float.tif")
    bad = sorted(path.name for path in tmp_path.iterdir())
    save(tmp_path / "good.png", 90, "L")
    images, readable = load_images(tmp_path, [*bad, "good.png"], 8, 1)
    assert readable.tolist() == [False] * len(bad) + [True]
    assert (images == 90).all()
    assert "9 of 10 images cannot be read" in caplog.text
    assert sum(repr(name) in caplog.text for name in bad) == 5
    assert caplog.messages[0].endswith(" and 4 more")


def quarters() -> Image.Image:
    """A white quarter at the top left, on black."""
    image = Image.new("L", (16, 16))
    image.paste(255, (0, 0, 8, 8))
    return image


def test_images_are_upright_even_if_other_metadata_is_damaged(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: the top left belongs at the top right
    exif[0x010F] = "maker"
    content = exif.tobytes()
    damaged = content.replace(b"maker", b"\xff\xff\xff\xff\xff").replace(b"\x0f\x01\x02\x00", b"\x0f\x01\x0c\x00")
    assert damaged != content
    for name, metadata in (("a.png", content), ("b.jpg", damaged), ("c.png", damaged), ("d.webp", damaged)):
        quarters().convert("RGB").save(tmp_path / name, exif=metadata, quality=95)
    images, _ = load_images(tmp_path, ["a.png", "b.jpg", "c.png", "d.webp"], 16, 1)
    assert (images[:, 0, 3, 12] > 240).all()
    assert (images[:, 0, 3, 3] < 15).all()


def test_long_texts_do_not_make_a_picture_unreadable(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("notes", "x" * 2_000_000, zip=True)
    quarters().save(tmp_path / "a.png", pnginfo=texts)
    with pytest.raises(ValueError, match="too large"), Image.open(tmp_path / "a.png") as image:
        image.load()
    assert np.array_equal(load_one(tmp_path, channels=1, size=16)[0], np.asarray(quarters()))


def test_a_white_point_brightens_files_of_16_bits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.array([0, 8, 2047, 4095, 5000] * 5, np.uint16).reshape(5, 5).repeat(2, 0).repeat(2, 1)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert load_images(tmp_path, ["a.png"], 10, 1)[0].max() < 32
    assert "darker than an eighth of the range" in caplog.text
    images, _ = load_images(tmp_path, ["a.png"], 10, 1, white_point=4095)
    assert images[0, 0, 0, ::2].tolist() == [0, 0, 127, 255, 255]  # 2047 · 255 / 4095 is 127.47


def test_missing_files_are_told_apart_in_the_cache_and_found_later(tmp_path: Path) -> None:
    (tmp_path / "b.png").symlink_to(tmp_path / "late.png")
    with pytest.raises(InputError, match=r"^1 of 1 images cannot be read: 'b\.png' \(No such file"):
        load_images(tmp_path, ["b.png"], 8, 1)
    save(tmp_path / "a.png", 10, "L")
    for paths in (["a.png", "b.png"], ["a.png", "c.png"], ["c.png", "a.png"]):
        images, readable = load_images(tmp_path, paths, 8, 1)
        assert readable.tolist() == [path == "a.png" for path in paths]
        assert len(images) == 1
    save(tmp_path / "late.png", 20, "L")
    assert load_images(tmp_path, ["a.png", "b.png"], 8, 1)[0][:, 0, 0, 0].tolist() == [10, 20]
