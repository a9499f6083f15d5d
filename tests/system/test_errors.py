from __future__ import annotations

import errno
import os

import pytest
import torch

from transfer.system.errors import UserError, check_number, is_out_of_memory

# As libraries raise them; the first is PyTorch's on a processor.
NO_MEMORY = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 12000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    MemoryError(),
    MemoryError("std::bad_alloc"),
    RuntimeError("Exception from src/core/src/runtime/allocator.cpp:13: bad_alloc"),
    RuntimeError("can't start new thread"),
    RuntimeError("could not create a primitive"),
    ImportError("libgomp.so.1: failed to map segment from shared object"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=repr)
def test_a_want_of_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError(
            "could not create a primitive descriptor for a convolution forward propagation primitive"
        ),
        ValueError(),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
    ids=repr,
)
def test_other_errors_and_those_of_a_gpus_memory_are_not(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_numbers_outside_a_range_are_named() -> None:
    for value in (2, 5, 9):
        check_number("draws", value, 2, 9)
    for value in (1, 10):
        with pytest.raises(UserError, match=f"^`draws` is {value}; give a whole number from 2 to 9$"):
            check_number("draws", value, 2, 9)
