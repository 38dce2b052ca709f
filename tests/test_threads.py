import os
import threading
from pathlib import Path

import pytest

from wgan_cli import threads
from wgan_cli.threads import can_start, count_cores, use_one_thread_if_necessary


@pytest.mark.parametrize(
    ("quota", "version_1", "cores"),
    [
        (None, None, 6),
        ("max 100000", None, 6),
        ("150000 100000", None, 2),
        ("10000 100000", None, 1),
        ("900000 100000", None, 6),
        (None, ("-1", "100000"), 6),
        (None, ("250000", "100000"), 3),
    ],
)
def test_the_limit_of_a_container_counts(
    quota: str | None, version_1: tuple[str, str] | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    files = {"QUOTA": quota, "QUOTA_1": version_1 and version_1[0], "PERIOD_1": version_1 and version_1[1]}
    for name, content in files.items():
        monkeypatch.setattr(threads, name, tmp_path / name)
        if content is not None:
            (tmp_path / name).write_text(f"{content}\n")
    assert count_cores() == cores


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_libraries_use_one_thread_if_the_system_does_not_allow_more(
    allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, before = threading.Thread.start, threading.active_count()

    def start(thread: threading.Thread) -> None:
        if threading.active_count() - before >= allowed:
            raise RuntimeError("can't start new thread")
        usual(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(threads, "count_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert can_start(allowed)
    assert not can_start(allowed + 1)
    assert threading.active_count() == before
    use_one_thread_if_necessary()
    assert os.environ.get("OMP_NUM_THREADS") == (None if allowed == 3 else "1")
