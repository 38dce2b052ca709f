"""How many threads this process may use. Importing this does not import torch."""

import math
import os
import threading
from contextlib import suppress
from pathlib import Path

LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What a container may use of the processor, as a share of a period: in version 2 and in version 1.
QUOTA = Path("/sys/fs/cgroup/cpu.max")
QUOTA_1, PERIOD_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def count_cores() -> int:
    """Return how many cores this process may use: the limits of taskset, of a scheduler and of a container count."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or no limit ("max")
        share, period = map(int, QUOTA.read_text(encoding="ascii").split())
        return min(affinity, max(1, math.ceil(share / period)))
    with suppress(OSError, ValueError):
        share, period = (int(file.read_text(encoding="ascii")) for file in (QUOTA_1, PERIOD_1))
        return min(affinity, math.ceil(share / period)) if share > 0 else affinity
    return affinity


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
