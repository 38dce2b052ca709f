import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wgan_cli.errors import InputError
from wgan_cli.sampling.inputs import read_latents, select_classes


def test_classes_are_all_unless_the_user_chooses() -> None:
    names = ("cats", "dogs", "eels", "10")
    assert select_classes(None, names) == [0, 1, 2, 3]
    assert select_classes(None, names, most=2) == [0, 1]
    assert select_classes(None, ()) == select_classes(None, (), most=2) == []
    assert select_classes((3, 0, "dogs", 3), names, most=1) == [3, 0, 1, 3]
    for chosen in ((3, 4), ("cats", "worms"), (-1,), ()):
        with pytest.raises(InputError, match="must be one or more of cats, dogs, eels, 10, or of the numbers 0 to 3"):
            select_classes(chosen, names)
        with pytest.raises(InputError, match=r"dataset\.conditional=true"):
            select_classes(chosen, ())
    with pytest.raises(InputError, match="did you mean dogs"):
        select_classes(("dog",), names)


def test_a_class_that_is_named_like_a_number_is_meant_by_its_name() -> None:
    """As in a folder with the sub-folders 1, 10 and 2, which are the classes 0, 1 and 2."""
    assert select_classes((1, 10, 2, 0), ("1", "10", "2")) == [0, 1, 2, 0]
    assert select_classes(("007",), ("007", "7")) == [0]


GOOD = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", ">f4", "i1", "u8"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_latents_may_be_numbers_of_any_type(kind: str, save: Callable[..., None], tmp_path: Path) -> None:
    given = np.abs(GOOD).astype(kind)
    for latents in (given, given[:1], np.asfortranarray(given)):
        save(tmp_path / "a.npz", latents=latents)
        read, classes = read_latents(tmp_path / "a.npz", 5, 10)
        assert read.numpy().dtype == np.float32
        assert np.array_equal(read.numpy(), latents.astype(np.float32))
        assert classes is None


def write_member(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("latents.npy", content)


def write_damaged(path: Path) -> None:
    np.savez_compressed(path, latents=np.random.default_rng(0).normal(size=(50, 5)))
    content = bytearray(path.read_bytes())
    content[2 * len(content) // 5] ^= 0xFF
    path.write_bytes(content)


def write_huge(path: Path) -> None:
    np.save(path.with_suffix(".npy"), GOOD)
    content = path.with_suffix(".npy").read_bytes()
    write_member(path, content.replace(b"(6, 5), }            ", b"(4000000000000, 5), }"))


# What is in the file, and what the message says about it.
ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"latent": GOOD}, "it has no array of that name"),
    "a scalar": ({"latents": np.float32(1)}, "float32 ()"),
    "one dimension": ({"latents": GOOD[0]}, "(5,)"),
    "too long": ({"latents": np.ones((4, 6))}, "(4, 6)"),
    "empty": ({"latents": GOOD[:0]}, "(0, 5)"),
    "NaN": ({"latents": np.where(np.eye(6, 5), np.nan, GOOD)}, "some are not finite"),
    "too large for float32": ({"latents": np.full((4, 5), 1e300)}, "some are not finite"),
    "booleans": ({"latents": GOOD > 0}, "bool"),
    "text": ({"latents": GOOD.astype(str)}, "the array is <U"),
    "objects": ({"latents": GOOD.astype(object)}, "Object arrays cannot be loaded"),
    "classes too large": ({"latents": GOOD, "classes": np.full(6, 10)}, "from 0 to 9"),
    "classes below 0": ({"latents": GOOD, "classes": np.full(6, -1)}, "from 0 to 9"),
    "too few classes": ({"latents": GOOD, "classes": np.zeros(3, int)}, "6 whole numbers"),
    "fractions as classes": ({"latents": GOOD, "classes": np.zeros(6)}, "whole numbers"),
}
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    **{name: (partial(np.savez, **arrays), expected) for name, (arrays, expected) in ARRAYS.items()},
    "missing": (lambda _: None, "No such file"),
    "a folder": (Path.mkdir, "Is a directory"),
    "not an archive": (lambda path: path.write_text("hello"), "not a zip file"),
    "an .npy file": (lambda path: path.write_bytes(b"\x93NUMPY" + b"\x01\x00" + bytes(200)), "not a zip file"),
    "not an array": (lambda path: write_member(path, b"hello"), "the array is |S5 ()"),
    "a broken header": (lambda path: write_member(path, b"\x93NUMPY\x01\x00\x05\x00{'a':"), "not a readable .npz file"),
    "damaged": (write_damaged, "is not a readable .npz file"),
    "huge": (write_huge, "Unable to allocate"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_do_not_fit(name: str, tmp_path: Path) -> None:
    write, expected = FILES[name]
    write(tmp_path / "a.npz")
    with pytest.raises(InputError) as rejected:
        read_latents(tmp_path / "a.npz", 5, 10)
    assert expected in str(rejected.value)
    assert len(str(rejected.value).splitlines()) == 1
    assert "pickled" not in str(rejected.value)  # numpy would explain how to load such data
