from pathlib import Path

import pytest

from tests.commands import names
from wgan_cli.run.folder import RunFolder
from wgan_cli.run.tables import Table
from wgan_cli.run.trackers import CsvTracker, Row

COLUMNS = ("step", "loss", "penalty")


def test_a_row_is_on_disk_when_it_has_been_added(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = Table(path, COLUMNS)
    assert path.read_bytes() == b"step,loss,penalty\n"
    table.add({"step": 1, "loss": 0.1 + 0.2, "penalty": 1e-300})  # with all its digits
    assert path.read_bytes() == b"step,loss,penalty\n1,0.30000000000000004,1e-300\n"
    table.add({"penalty": 3, "other": 4})  # what is missing stays empty, and what is not a column is left out
    assert path.read_text().splitlines()[2] == ",,3"
    Table(path, COLUMNS)
    assert path.read_bytes() == b"step,loss,penalty\n"


def test_a_resumed_run_keeps_the_rows_of_its_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "table.csv"
    table = Table(path, COLUMNS)
    for step in (1, 2, 3):
        table.add({"step": step})
    path.write_text(path.read_text() + "4,half a r")
    Table(path, COLUMNS, keep=2).add({"step": 9})
    assert path.read_text() == "step,loss,penalty\n1,,\n2,,\n9,,\n"
    assert (names(tmp_path), caplog.text) == ({"table.csv"}, "")
    path.unlink()
    Table(path, COLUMNS, keep=5)
    assert path.read_text() == "step,loss,penalty\n"
    assert "table.csv lacks 5 earlier rows" in caplog.text


def test_times_are_not_in_the_table_of_what_is_reproducible(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    tracker = CsvTracker(folder, ["critic_loss", "penalty"], keep=0)
    tracker.write_row(Row(step=4, epoch=2, critic_updates=8), {"critic_loss": 0.5}, {"seconds": 3.0})
    assert folder.metrics.read_text() == "step,epoch,critic_updates,critic_loss,penalty\n4,2,8,0.5,\n"
    assert folder.timing.read_text() == "step,epoch,critic_updates,seconds,images_per_second\n4,2,8,3.0,\n"
