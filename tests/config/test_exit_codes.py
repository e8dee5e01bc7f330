"""The line and the exit code of an error."""

import pytest
import torch

from leyden.config.exit_codes import exit_codes

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
GPU = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.2 GiB is free"


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        (RuntimeError(f"{CPU} 5017600000 bytes. Error code 12 (Cannot allocate memory)\n"), "5.02 GB more were needed"),
        (torch.OutOfMemoryError(GPU), "2.50 GiB more were needed"),
        (
            RuntimeError("MPS backend out of memory (MPS allocated: 5.0 GB, max: 9 GB)"),
            "an allocation failed",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "an allocation"),
        (MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"), "7.45 GiB more were needed"),
        (MemoryError(), "an allocation failed"),
    ],
)
def test_missing_memory_is_one_line_that_names_what_to_reduce(
    error: Exception, needed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, exit_codes():
        raise error
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert printed.startswith(f"error: the memory is full: {needed}")
    assert "data.batch_size" in printed
    assert printed.count("\n") == 1


def test_an_activation_that_cannot_be_allocated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_codes():
        torch.empty(1 << 60, dtype=torch.uint8)
    assert "1.15e+09 GB more were needed" in capsys.readouterr().err


def test_another_error_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"), exit_codes():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
