"""What this process may use of the machine. The limits of a container and of a scheduler count.

Importing this does not import torch.
"""

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # control groups, and this process's
MEMORY = Path("/proc/meminfo")


def count_cores() -> int:
    """Return how many cores this process may use."""
    cores: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _list_groups("cpu"):
        with suppress(OSError, ValueError):  # no such file, or no limit ("max"); in version 2
            share, period = map(int, _read(folder / "cpu.max").split())
            cores = min(cores, share / period)
        with suppress(OSError, ValueError):  # in version 1
            share, period = int(_read(folder / "cpu.cfs_quota_us")), int(_read(folder / "cpu.cfs_period_us"))
            cores = min(cores, share / period if share > 0 else cores)
    return max(1, math.ceil(cores))


def measure_free_memory() -> int:
    """Return the bytes of main memory that this process may still take."""
    free = sys.maxsize
    with suppress(OSError, ValueError):
        lines = _read(MEMORY).splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    for folder in _list_groups("memory"):
        for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):
                stat = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
                cached = int(stat["inactive_file"])  # which the system gives back
                free = min(free, int(_read(folder / limit)) - int(_read(folder / usage)) + cached)
    return max(0, free)


def _list_groups(controller: str) -> Iterator[Path]:
    """Return the folders of this process's control group and of those around it, in version 2 and in version 1."""
    with suppress(OSError, ValueError):
        for line in _read(OWN_GROUPS).splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                root = GROUPS / controllers
                inside = root / path.lstrip("/")
                yield from [inside, *(place for place in inside.parents if place.is_relative_to(root))]


def _read(file: Path) -> str:
    return file.read_text(encoding="ascii")


def can_start(count: int) -> bool:
    """Return whether the system lets this process start so many threads."""
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(count)]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        done.set()
        for thread in started:
            thread.join()
    return True


def use_one_thread_if_necessary() -> None:
    """Tell the libraries to use one thread if the system does not allow more. They would end the process otherwise."""
    if not can_start(count_cores()):
        os.environ.update(dict.fromkeys(LIBRARIES, "1"))
