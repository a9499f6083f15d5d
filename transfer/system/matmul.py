"""The largest rate of matrix products on this machine: what extraction is compared with."""

from __future__ import annotations

from collections.abc import Callable

from transfer.system.timer import now

# Sizes from which the rate of products is measured, doubled while all products of the next size take less than so much.
FIRST_SIZE, LAST_SIZE, BUDGET_S = 512, 8192, 0.15
PRODUCTS = 3


def measure_matmul(device: str, precision: str, budget_s: float = BUDGET_S) -> float | None:
    """Measure the largest rate of square matrix products, with the threads that torch uses now.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    precision : {"fp32", "bf16", "fp16", "int8"}
    budget_s : float
        Seconds that the products of the largest size may take; those of smaller ones come to less than a half more.

    Returns
    -------
    float or None
        Floating-point operations a second, an addition being one of its own; None for int8.
    """
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    if dtype is None:
        return None

    def prepare(size: int) -> Callable[[], object]:
        a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        return lambda: a @ b

    return largest_rate(prepare, device, budget_s)


def largest_rate(
    prepare: Callable[[int], Callable[[], object]], device: str, budget_s: float = BUDGET_S
) -> float:
    """Measure the largest rate of products of square matrices, over their sizes.

    Parameters
    ----------
    prepare : callable
        Takes the side of the matrices and returns a function that multiplies two of them.
    device : {"cpu", "cuda"}
    budget_s : float
        As for `measure_matmul`.

    Returns
    -------
    float
        Operations a second.
    """
    best, size = 0.0, FIRST_SIZE
    while True:
        multiply = prepare(size)
        multiply()  # the first one sets up libraries and threads
        seconds = []
        for _ in range(PRODUCTS):
            start = now(device)
            multiply()
            seconds.append(now(device) - start)
        best = max(best, 2 * size**3 / min(seconds))
        if size == LAST_SIZE or 8 * (PRODUCTS + 1) * min(seconds) > budget_s:
            return best
        size *= 2
