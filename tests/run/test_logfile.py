import logging
from pathlib import Path

import pytest

from wgan_cli.run.failure import RunFailedError
from wgan_cli.run.logfile import ROW, log_to_file

log = logging.getLogger("test log")
log.setLevel(logging.INFO)


def write(path: Path, rows: int, *messages: str) -> list[str]:
    """Log to a file, of which so many rows stay, and return what is in it then, without the times."""
    with log_to_file(log, path, rows):
        for message in messages:
            log.info(message)
    return [line.split(" ", 2)[2] for line in path.read_text(encoding="utf-8").splitlines()]


def row(step: int) -> str:
    return ROW % (1, step, "critic_loss 0.5  100 images/s  00:01 left")


def test_rows_after_the_last_checkpoint_go_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "log"
    said = write(path, 0, "a plan for epoch 1  step 2", row(10), row(20), "a warning", row(30), "stopped")
    assert len(said) == 6
    assert write(path, 2, "ä") == ["a plan for epoch 1  step 2", row(10), row(20), "a warning", "stopped", "ä"]
    assert write(path, 0, row(10)) == ["a plan for epoch 1  step 2", "a warning", "stopped", "ä", row(10)]
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_half_a_line_goes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, 0, "first")
    with path.open("a") as file:
        file.write("2026-11-22 03:00:00,000 epo")
    assert write(path, 9, "second") == ["first", "second"]


def test_errors_are_noted_and_passed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the run in a sentence, all others with their traceback; on the terminal somebody else says it."""
    for error, traced in ((RunFailedError("the disk is full"), False), (KeyError("a bug"), True)):
        path = tmp_path / type(error).__name__
        with pytest.raises(type(error)), log_to_file(log, path, 0):
            raise error
        text = path.read_text()
        assert str(error) in text
        assert ("Traceback" in text) == traced
    assert not caplog.records
    assert not log.handlers
