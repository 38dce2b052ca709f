from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.builders import make_state
from wgan_cli import modes
from wgan_cli.images import to_bytes
from wgan_cli.modes import write_samples
from wgan_cli.networks import GENERATORS
from wgan_cli.parameters import SettingError
from wgan_cli.players import Generator

COUNT = 70  # more than a chunk


@pytest.fixture(params=[1, 3])
def generator(request: pytest.FixtureRequest) -> Generator:
    torch.manual_seed(1)
    return GENERATORS["mlp"](9, request.param, latent_dim=5, hidden_sizes=(8,)).eval()


def pixels(path: Path, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as png:
        found = np.asarray(png)
    return found.reshape(*found.shape[:2], channels)


def test_the_modes_agree_pixel_by_pixel(generator: Generator, tmp_path: Path) -> None:
    channels = generator(torch.zeros(1, 5)).shape[1]
    write_samples(generator, "grid", 7, COUNT, tmp_path / "grid.png")
    write_samples(generator, "images", 7, COUNT, tmp_path / "images")
    write_samples(generator, "npz", 7, COUNT, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as arrays:
        images, latents, seeds = (arrays[name] for name in ("images", "latents", "seeds"))
        assert set(arrays) == {"images", "latents", "seeds"}
    assert (images.dtype, images.shape) == (np.uint8, (COUNT, 9, 9, channels))
    assert (latents.dtype, latents.shape) == (np.float32, (COUNT, 5))
    assert (seeds.dtype, seeds.shape) == (np.int64, (COUNT,))

    files = sorted((tmp_path / "images").iterdir())
    assert [file.name for file in files] == [f"{index:06d}.png" for index in range(COUNT)]
    sheet = pixels(tmp_path / "grid.png", channels)
    assert sheet.shape == (8 * 11 + 2, 9 * 11 + 2, channels)
    for index, (image, file) in enumerate(zip(images, files, strict=True)):
        assert np.array_equal(pixels(file, channels), image)
        top, left = index // 9 * 11 + 2, index % 9 * 11 + 2
        assert np.array_equal(sheet[top : top + 9, left : left + 9], image)
    assert len({image.tobytes() for image in images}) == COUNT

    # As documented: a seed makes its latent, and the latent its image.
    for index in (0, 1, COUNT - 1):
        latent = torch.randn(5, generator=torch.Generator().manual_seed(int(seeds[index])))
        assert np.array_equal(latent.numpy(), latents[index])
        with torch.no_grad():
            alone = to_bytes(generator(latent[None]))[0].permute(1, 2, 0).numpy()
        assert np.abs(alone.astype(int) - images[index]).max() <= 1  # a batch of one may round another way


def test_default_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = make_state().generator
    said = [write_samples(generator, mode, 0, 2, None) for mode in ("grid", "images", "npz")]
    assert {path.name for path in tmp_path.iterdir()} == {"samples.png", "samples", "samples.npz"}
    for name, words in zip(("samples.png", "samples", "samples.npz"), said, strict=True):
        assert name in words
        assert "replaced" not in words


@pytest.mark.parametrize(("mode", "name"), [("grid", "a.png"), ("npz", "a.npz")])
def test_a_file_is_replaced_and_that_is_said(mode: str, name: str, tmp_path: Path) -> None:
    generator = make_state().generator
    write_samples(generator, mode, 0, 2, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    assert "replaced what was there" in write_samples(generator, mode, 1, 2, tmp_path / name)
    assert (tmp_path / name).read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_samplings_are_not_mixed(tmp_path: Path) -> None:
    generator = make_state().generator
    (tmp_path / "empty").mkdir()
    write_samples(generator, "images", 0, 2, tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 2
    (tmp_path / "file").write_text("")
    for name in ("empty", "file"):
        with pytest.raises(SettingError, match="give a new folder") as refused:
            write_samples(generator, "images", 1, 3, tmp_path / name)
        assert refused.value.key == "out"
    assert len(list((tmp_path / "empty").iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "file"}


@pytest.mark.parametrize(("mode", "name", "suffix"), [("grid", "a.jpg", ".png"), ("npz", "a", ".npz")])
def test_a_wrong_suffix(mode: str, name: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"must be the name of a \{suffix} file"):
        write_samples(make_state().generator, mode, 0, 1, tmp_path / "new" / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "name"), [("grid", "a.png"), ("images", "a"), ("npz", "a.npz")])
def test_what_cannot_be_written(mode: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be written") as refused:
        write_samples(make_state().generator, mode, 0, 1, tmp_path / "file" / name)
    assert refused.value.key == "out"


def test_images_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(modes, "save_png", full)
    with pytest.raises(SettingError, match="No space left"):
        write_samples(make_state().generator, "images", 0, 3, tmp_path / "images")
    assert not any(tmp_path.iterdir())


def test_an_unknown_mode(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="did you mean grid"):
        write_samples(make_state().generator, "gird", 0, 1, tmp_path / "a.png")
