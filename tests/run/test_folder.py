from pathlib import Path

import pytest
import yaml

from wgan_cli.parameters import SettingError
from wgan_cli.run.folder import RunFolder

CONFIG = {"seed": 3, "optimizer": {"betas": [0.0, 0.9]}, "dataset": {"root": "Bücher"}}


def test_create(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "outputs" / "run")
    folder.create(CONFIG, ["seed=3", "dataset.root=Bücher"])
    assert {path.name for path in folder.path.iterdir()} == {".hydra", "samples", "checkpoints"}
    assert yaml.safe_load((folder.path / ".hydra/config.yaml").read_text("utf-8")) == CONFIG
    assert yaml.safe_load((folder.path / ".hydra/overrides.yaml").read_text("utf-8")) == [
        "seed=3",
        "dataset.root=Bücher",
    ]
    for place in (folder.last_checkpoint, folder.epoch_checkpoint(1), folder.sample("real"), folder.metrics):
        assert place.parent.is_dir()
        assert not place.exists()
    assert folder.epoch_checkpoint(12).name == "epoch_0012.pt"


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    RunFolder(tmp_path).create(CONFIG, [])
    assert (tmp_path / "checkpoints").is_dir()


@pytest.mark.parametrize("there", ["checkpoints/last.pt", "checkpoints/epoch_0001.pt", "metrics.csv"])
def test_a_run_is_never_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("earlier")
    with pytest.raises(SettingError, match=r"holds a run already; resume=") as refused:
        RunFolder(tmp_path).create(CONFIG, [])
    assert refused.value.key == "hydra.run.dir"
    assert (tmp_path / there).read_text() == "earlier"
    assert not (tmp_path / ".hydra").exists()


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A file stands where a folder would have to (a permission would not stop root)."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be written to"):
        RunFolder(tmp_path / "file" / "run").create(CONFIG, [])
