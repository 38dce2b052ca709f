from collections.abc import Iterator
from pathlib import Path

import pytest

from wgan_cli.build.plugins import PARTS, import_plugins, make_options, require_parts
from wgan_cli.errors import InputError, SettingError
from wgan_cli.losses import LOSSES, Hinge

LOSS = """
from wgan_cli.losses import LOSSES, Hinge
class Mine(Hinge):
    def __init__(self, sizes: tuple[int, ...] = (1, 2), *, weight: float) -> None: ...
LOSSES["mine"] = Mine
"""
DATASET = """
from dataclasses import dataclass
from wgan_cli.data import DATASETS
@dataclass
class Points:
    limit: int | None = None
DATASETS["points"] = Points
"""


@pytest.fixture(autouse=True)
def _keep_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    before = {group: dict(parts) for group, parts in PARTS.items()}
    yield
    for group, parts in before.items():
        PARTS[group].clear()
        PARTS[group].update(parts)


def test_a_file_adds_parts_with_options_from_their_signatures() -> None:
    assert make_options() == {}
    Path("mine.py").write_text(LOSS)
    Path("points.py").write_text(DATASET)
    import_plugins(["mine.py", "points.py"])
    first = LOSSES["mine"]
    assert make_options() == {
        ("loss", "mine"): {"name": "mine", "sizes": (1, 2), "weight": "???"},
        ("dataset", "points"): {"name": "points", "limit": None, "flip": False, "conditional": False},
    }
    import_plugins(["mine.py"])
    assert LOSSES["mine"] is first
    Path("mine.py").write_text(f"{LOSS}\n# changed, in a notebook's session")
    import_plugins(["mine.py"])
    assert LOSSES["mine"] is not first


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("nope.py", None, "no such file"),
        ("a.txt", "", "its name must end in .py"),
        ("a.py", "x = 1\nx.y\n", r"line 2: AttributeError: 'int' object has no attribute 'y'"),
        ("a.py", "x =\n", "line 1: SyntaxError: invalid syntax"),
        ("a.py", LOSS.replace('"mine"', '"hinge"'), "replaces loss=hinge; choose another name"),
    ],
)
def test_a_file_that_cannot_be_used(file: str, content: str | None, message: str) -> None:
    if content is not None:
        Path(file).write_text(content)
    with pytest.raises(SettingError, match=f"^plugins={file}: .*{message}"):
        import_plugins([file])
    assert LOSSES["hinge"] is Hinge


def test_a_part_that_is_not_registered() -> None:
    config = {"loss": {"name": "mine"}, "critic": {"name": "dcgan"}, "plugins": ["my parts.py"]}
    require_parts(config, ["critic", "dataset"])
    with pytest.raises(
        InputError, match=r"has loss=mine, which is not part of the program; add plugins=\[my parts.py\]"
    ):
        require_parts(config)
    with pytest.raises(InputError, match=r"add plugins=\[FILE\]"):
        require_parts({**config, "plugins": None})
