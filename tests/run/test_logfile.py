import logging
from pathlib import Path

import pytest

from wgan_cli.errors import RunFailedError
from wgan_cli.run.logfile import keep_messages, log_to_file

log = logging.getLogger("test log")
log.setLevel(logging.INFO)


def test_messages_are_appended_with_their_times(tmp_path: Path) -> None:
    for message in ("first", "ä"):
        with log_to_file(log, tmp_path / "log"):
            log.info(message)
    log.info("after the run")
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["first", "ä"]


def test_messages_before_the_run_are_kept_for_its_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The terminal hears where those are that it does not show."""
    log.setLevel(logging.DEBUG)
    with keep_messages(log):
        log.warning("7 files")
        log.debug("all 7")
        with log_to_file(log, tmp_path / "log"):
            log.info("started")
    assert not log.handlers
    where = f"the messages above are complete in {tmp_path}/log"
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["7 files", "all 7", where, "started"]
    assert where in caplog.text
    with keep_messages(log), log_to_file(log, tmp_path / "log"):
        log.info("again")
    assert caplog.text.count("are complete") == 1


def test_errors_are_recorded_and_passed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Failures of the run in a sentence, all others with their traceback. The command prints them itself."""
    for error, traced in ((RunFailedError("the disk is full"), False), (KeyError("a bug"), True)):
        path = tmp_path / type(error).__name__
        with pytest.raises(type(error)), log_to_file(log, path):
            raise error
        text = path.read_text()
        assert str(error) in text
        assert ("Traceback" in text) == traced
    assert not caplog.records
    assert not log.handlers
