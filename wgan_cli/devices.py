"""The device and the precision of a run."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal

import torch

from wgan_cli.errors import SettingError
from wgan_cli.limits import count_cores

Precision = Literal["fp32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """Return the named device; ``auto`` is CUDA if available, otherwise the CPU.

    Raises:
        SettingError: If this machine has no such device.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if available else "cpu"
    kind, _, index = name.partition(":")
    if name not in ("cpu", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise SettingError("device", name, "must be auto, cpu, cuda, or one GPU such as cuda:1")
    if kind == "cuda" and not available:
        raise SettingError("device", name, "no CUDA device is available to this installation of torch; try device=cpu")
    if index and int(index) >= torch.cuda.device_count():
        raise SettingError("device", name, f"must be below {torch.cuda.device_count()}, the number of CUDA devices")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), count_cores()))  # torch does not see a container's limit
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32: TF32 keeps 10 of its 23 bits
    return torch.device(name)


def resolve_precision(precision: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision of forward passes; ``auto`` is bf16 if the device supports it natively, otherwise fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "fp32"


def use_deterministic_algorithms(wanted: bool) -> None:
    """Restrict CUDA to algorithms that always give the same bits. Those of the CPU always do."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be deterministic
    torch.use_deterministic_algorithms(wanted)


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Return a function that opens a context in which forward passes run in this precision."""
    return partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def fits(nbytes: int, device: torch.device) -> bool:
    """Return whether an array fits on the device and leaves half of its free memory to training."""
    return device.type == "cpu" or nbytes < torch.cuda.mem_get_info(device)[0] / 2
