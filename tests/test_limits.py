import os
import threading
from pathlib import Path

import pytest

from wgan_cli import limits
from wgan_cli.limits import can_start, count_cores, measure_free_memory, use_one_thread_if_necessary


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test writes the control groups of a machine with six cores and 8 GB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    for name in ("GROUPS", "OWN_GROUPS", "MEMORY"):
        monkeypatch.setattr(limits, name, tmp_path / name)
    (tmp_path / "MEMORY").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    return tmp_path


def write_groups(root: Path, own: str, files: dict[str, str]) -> None:
    (root / "OWN_GROUPS").write_text(own)
    for name, content in files.items():
        (root / "GROUPS" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "GROUPS" / name).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("", {}, 6),
        ("0::/\n", {"cpu.max": "max 100000"}, 6),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/job/1\n", {"job/cpu.max": "10000 100000", "job/1/cpu.max": "max 100000"}, 1),
        ("0::/not/mounted\n", {"cpu.max": "300000 100000"}, 3),
        ("4:memory:/\n1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 6),
        ("2:cpu,cpuacct:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 3),
        ("4:memory:/\n", {"memory/cpu.cfs_quota_us": "100000", "memory/cpu.cfs_period_us": "100000"}, 6),
    ],
)
def test_cores_of_a_container_or_a_job(own: str, files: dict[str, str], cores: int, groups: Path) -> None:
    write_groups(groups, own, files)
    assert count_cores() == cores


STAT = "active_file 7\ninactive_file 500"


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        ("0::/\n", {}, 8_192_000_000),
        ("0::/\n", {"memory.max": "max", "memory.current": "9", "memory.stat": STAT}, 8_192_000_000),
        ("0::/\n", {"memory.max": "3000", "memory.current": "1000", "memory.stat": STAT}, 2500),
        ("0::/\n", {"memory.max": "3000", "memory.current": "9000", "memory.stat": STAT}, 0),
        (
            "4:memory:/slurm/job_7\n",
            {
                f"memory/slurm/job_7/memory.{name}": content
                for name, content in (("limit_in_bytes", "5000"), ("usage_in_bytes", "1000"), ("stat", STAT))
            },
            4500,
        ),
    ],
)
def test_memory_of_a_container_or_a_job(own: str, files: dict[str, str], free: int, groups: Path) -> None:
    write_groups(groups, own, files)
    assert measure_free_memory() == free


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
    monkeypatch.setattr(limits, "count_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert can_start(allowed)
    assert not can_start(allowed + 1)
    assert threading.active_count() == before
    use_one_thread_if_necessary()
    assert os.environ.get("OMP_NUM_THREADS") == (None if allowed == 3 else "1")
