import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.data.files import RED, save
from wgan_cli.data import decode
from wgan_cli.data.decode import load_images
from wgan_cli.parameters import SettingError

SIZE = 16


def load_one(folder: Path, channels: int = 3, size: int = SIZE) -> np.ndarray:
    """Load the one file of a folder."""
    images, readable = load_images(folder, [path.name for path in folder.iterdir()], size, channels, "root")
    assert images.shape == (1, channels, size, size)
    assert images.dtype == np.uint8
    assert readable.tolist() == [True]
    first: np.ndarray = images[0]
    return first


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
    opaque = decode._opaque

    def recording(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return opaque(image)

    monkeypatch.setattr(decode, "_opaque", recording)
    stripes = load_one(tmp_path, channels=1, size=64)[0, 32].astype(int)
    assert sizes == [(150, 128)]
    assert (np.abs(stripes - 127.5) > 100).all()  # 4 pixels white, 4 black


def test_shrinking_averages(tmp_path: Path) -> None:
    checkered = (np.indices((640, 640)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkered).save(tmp_path / "a.png")
    assert np.abs(load_one(tmp_path, channels=1).astype(int) - 127.5).max() < 5


@pytest.mark.parametrize("pixels", [1500, 900])  # 2,500 pixels are above the one and more than twice the other
def test_decompression_bombs_are_not_decoded(
    pixels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "bomb.png", 10, "L", (50, 50))
    save(tmp_path / "small.png", 20, "L", (20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    images, readable = load_images(tmp_path, ["bomb.png", "small.png"], 8, 1, "root")
    assert readable.tolist() == [False, True]
    assert (images == 20).all()
    assert "'bomb.png'" in caplog.text


def test_the_images_come_in_the_order_of_the_paths_and_each_path_is_said_to_be_readable_or_not(tmp_path: Path) -> None:
    for value in (10, 20, 30):
        save(tmp_path / "sub" / f"{value}.png", value, "L")
    (tmp_path / "bad.png").write_text("not an image")
    for _ in range(2):  # the second time from the cache
        images, readable = load_images(tmp_path, ["sub/30.png", "bad.png", "sub/10.png", "gone.png"], 8, 1, "root")
        assert readable.tolist() == [True, False, True, False]
        assert readable.dtype == np.bool_
        assert images[:, 0, 0, 0].tolist() == [30, 10]


def test_nothing_that_can_be_read_is_refused_with_the_users_own_words(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^dataset\.root=~/x: 1 of 1 images cannot be read: 'gone\.png' \(No s"):
        load_images(tmp_path, ["gone.png"], 8, 1, "~/x")


def test_missing_files_are_told_apart_in_the_cache(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 10, "L")
    for paths in (["a.png", "b.png"], ["a.png", "c.png"], ["c.png", "a.png"]):
        images, readable = load_images(tmp_path, paths, 8, 1, "root")
        assert readable.tolist() == [path == "a.png" for path in paths]
        assert len(images) == 1
