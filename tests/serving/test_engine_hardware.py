"""Device and compute type, for hosts that this one is not, too."""

import ctranslate2
import pytest

from airgap.errors import AirgapError, UsageError
from runtime.engine.hardware import (
    Hardware,
    choose_compute_type,
    choose_device,
    find_hardware,
)

CPU = {"float32", "int8", "int8_float32"}
ARM_WITHOUT_INT8 = {"float32"}
PASCAL = {"float32", "int8", "int8_float32"}
HOPPER = {"float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16"}


@pytest.mark.parametrize(
    ("asked", "gpus", "chosen"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda")],
)
def test_device(asked: str, gpus: int, chosen: str) -> None:
    assert choose_device(asked, gpus) == chosen


@pytest.mark.parametrize(
    ("device", "supported", "chosen"),
    [
        ("cpu", CPU, "int8"),
        ("cpu", ARM_WITHOUT_INT8, "float32"),
        ("cuda", HOPPER, "float16"),
        ("cuda", PASCAL, "int8_float32"),
    ],
)
def test_compute_type_of_auto(device: str, supported: set[str], chosen: str) -> None:
    assert choose_compute_type("auto", device, supported) == chosen


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        choose_device("cuda", 0)
    assert caught.value.message == "device 'cuda': no GPU was found"
    assert (
        caught.value.hint
        == "give --device cpu; airgap doctor --device cuda says what a GPU would need"
    )


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="device 'tpu': expected one of auto, cpu, cuda"):
        find_hardware("tpu")


def test_float16_on_a_cpu_is_refused_with_what_is_supported() -> None:
    with pytest.raises(UsageError) as caught:
        find_hardware("cpu", "float16")
    supported = ", ".join(sorted(ctranslate2.get_supported_compute_types("cpu")))
    assert caught.value.message == (
        f"compute type 'float16' is not supported on this cpu: expected auto, {supported}"
    )


def test_negative_threads_are_refused() -> None:
    with pytest.raises(UsageError, match="threads: expected 0 or more, found -1"):
        find_hardware("cpu", threads=-1)


def test_a_driver_that_does_not_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: str) -> set[str]:
        raise RuntimeError("CUDA driver version is insufficient for CUDA runtime version")

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", broken)
    with pytest.raises(AirgapError, match="device 'cuda' does not work: CUDA driver") as caught:
        find_hardware("auto")
    assert caught.value.exit_code == 1


def test_it_says_what_it_is() -> None:
    assert str(Hardware("cpu", "int8", 1)) == "cpu, int8, 1 thread"
    assert str(Hardware("cuda", "float16", 8)) == "cuda, float16, 8 threads"
    assert find_hardware("cpu").threads >= 1
