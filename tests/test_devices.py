import os

import pytest
import torch

from wgan_cli.devices import autocast, fits, resolve_device, resolve_precision, use_deterministic_algorithms
from wgan_cli.errors import SettingError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    assert resolve_device("cpu") == CPU
    for name in ("cuda", "cuda:0"):
        with pytest.raises(SettingError, match=f"device={name}: no CUDA device is available.*device=cpu"):
            resolve_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_with_cuda() -> None:
    assert resolve_device("auto") == CUDA
    assert resolve_device("cpu") == CPU
    assert resolve_device("cuda") == CUDA
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(SettingError, match="device=cuda:2: must be below 2, the number of CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["banana", "", "cpu:0", "cuda:-1", "cuda:x", "CUDA", "mps", "cuda:1:2", "cuda:"])
def test_no_such_device(name: str) -> None:
    with pytest.raises(SettingError, match="device="):
        resolve_device(name)


@pytest.mark.parametrize(
    ("asked", "native", "expected"),
    [("auto", True, "bf16"), ("auto", False, "fp32"), ("fp32", True, "fp32"), ("bf16", False, "bf16")],
)
def test_precision(asked: str, native: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that only emulates bf16 would be slower with it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": native})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    for device in (CPU, CUDA):
        assert resolve_precision(asked, device) == expected  # type: ignore[arg-type]


def test_autocast() -> None:
    layer, inputs = torch.nn.Linear(3, 3), torch.ones(2, 3)
    with autocast("bf16", CPU)():
        assert layer(inputs).dtype == torch.bfloat16
    with autocast("fp32", CPU)():
        assert layer(inputs).dtype == torch.float32


def test_half_of_the_free_memory_is_left_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 4000))
    assert fits(10**18, CPU)
    assert fits(499, CUDA)
    assert not fits(501, CUDA)


def test_deterministic_algorithms_are_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        use_deterministic_algorithms(True)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        use_deterministic_algorithms(False)
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert not torch.are_deterministic_algorithms_enabled()
