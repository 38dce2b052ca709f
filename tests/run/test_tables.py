from pathlib import Path

from wgan_cli.run.metrics import METRICS, TIMING, Table

COLUMNS = ("step", "loss", "penalty")


def test_rows_are_on_disk_when_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = Table(path, COLUMNS)
    assert path.read_bytes() == b"step,loss,penalty\n"
    table.add({"step": 1, "loss": 0.1, "penalty": 2.0})
    assert path.read_bytes() == b"step,loss,penalty\n1,0.1,2.0\n"


def test_a_number_is_written_with_all_its_digits(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    Table(tmp_path / "table.csv", COLUMNS).add({"step": 1, "loss": value, "penalty": 1e-300})
    _, row = (tmp_path / "table.csv").read_text().splitlines()
    assert [float(cell) for cell in row.split(",")] == [1, value, 1e-300]


def test_what_a_row_lacks_stays_empty_and_what_is_no_column_is_left_out(tmp_path: Path) -> None:
    Table(tmp_path / "table.csv", COLUMNS).add({"penalty": 3, "other": 4})
    assert (tmp_path / "table.csv").read_text().splitlines()[1] == ",,3"


def test_a_new_table_replaces_what_was_there(tmp_path: Path) -> None:
    Table(tmp_path / "table.csv", COLUMNS).add({"step": 1})
    Table(tmp_path / "table.csv", COLUMNS)
    assert (tmp_path / "table.csv").read_text() == "step,loss,penalty\n"


def test_a_table_that_goes_on_keeps_so_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = Table(path, COLUMNS)
    for step in (1, 2, 3):
        table.add({"step": step})
    path.write_text(path.read_text() + "4,half a r")
    Table(path, COLUMNS, keep=2).add({"step": 9})
    assert path.read_text() == "step,loss,penalty\n1,,\n2,,\n9,,\n"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_a_table_that_is_gone_begins_anew(tmp_path: Path) -> None:
    Table(tmp_path / "table.csv", COLUMNS, keep=5)
    assert (tmp_path / "table.csv").read_text() == "step,loss,penalty\n"


def test_times_are_not_among_what_is_reproducible() -> None:
    assert set(METRICS) & set(TIMING) == {"step", "epoch", "critic_updates"}
    assert {"critic_loss", "penalty", "generator_loss", "wasserstein_estimate"} < set(METRICS)
