"""Threads for training, in which numbers too small for float32's full precision are flushed to zero."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


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
        Takes the work. On leaving the context, work that has not begun is cancelled and work that has is waited for.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, initializer=_start_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # new threads take over the number that was set last, in any thread


def _start_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
