"""Numbers too small for float32's full precision, taken as zero in threads of products."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import torch

from transfer.system.thread_pools import StartedPool


@contextmanager
def flushing_threads(n_threads: int) -> Iterator[Executor]:
    """Start threads that flush subnormal numbers and compute on one core each.

    Probabilities and squared gradients of well-separated rows become subnormal, and a processor computes with
    subnormal numbers many times slower. Flushing is a state of a thread: set in the calling thread, it would not
    reach the threads that torch has already started for its kernels (half of a product of two large tensors was
    flushed on two cores). Here each thread runs its kernels alone, which also spares it from waiting for others in
    every one of thousands of small operations. The calling thread's own state stays as it is.

    Parameters
    ----------
    n_threads : int
        Number of threads, 1 or more.

    Yields
    ------
    concurrent.futures.Executor
        Takes the work. What has begun is waited for; where an error ends the context, the rest is dropped.
    """
    before = torch.get_num_threads()
    try:
        with StartedPool(n_threads, initializer=_start_thread) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # new threads take over the number that was set last, in any thread


def _start_thread() -> None:
    torch.set_num_threads(1)
    flush_thread()


def flush_thread() -> None:
    """Flush subnormal numbers in the calling thread, and in threads that it starts from now on, as far as known."""
    torch.set_flush_denormal(True)


@contextmanager
def flushed() -> Iterator[None]:
    """Flush subnormal numbers in the calling thread until the end of a `with` block; it is then as it was before."""
    before = _flushes()
    flush_thread()
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes() -> bool:
    product = torch.tensor([1e-30]) * torch.tensor([1e-10])
    return not product.view(torch.int32).item()  # its bits: a comparison may flush it
