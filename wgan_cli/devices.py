"""Which device and which precision a run gets."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal

import torch

from wgan_cli.parameters import SettingError

Precision = Literal["fp32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """Return the device of a name: ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        SettingError: If there is no such device, or not on this machine.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if available else "cpu"
    kind, _, index = name.partition(":")
    if name not in ("cpu", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise SettingError("device", name, "must be auto, cpu, cuda or a certain GPU as in cuda:1")
    if kind == "cuda" and not available:
        raise SettingError("device", name, "there is no CUDA device here, or this torch cannot use it; try device=cpu")
    if index and int(index) >= torch.cuda.device_count():
        raise SettingError("device", name, f"there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    torch.backends.cudnn.allow_tf32 = False  # what is said to be float32 is: TF32 has 10 of its 23 bits
    return torch.device(name)


def resolve_precision(precision: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision of forward passes: ``auto`` is bf16 where the device computes in it natively, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "fp32"


def use_deterministic_algorithms(wanted: bool) -> None:
    """Let CUDA use only algorithms that give the same bits each time; on the CPU all that we use do."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS may not, on several streams
    torch.use_deterministic_algorithms(wanted)


def autocast(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Return what opens a context in which forward passes run in this precision."""
    return partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def fits(nbytes: int, device: torch.device) -> bool:
    """Say whether an array may live on the device and leave at least half of its free memory to training."""
    return device.type == "cpu" or nbytes < torch.cuda.mem_get_info(device)[0] / 2
