"""Threads of the libraries that heads are trained with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


def limited_threads(n: int) -> threadpool_limits:
    """Limit OpenMP to `n` threads, and BLAS to one, until the end of a `with` block.

    Libraries that see a whole host where a container gives two cores would start a thread for each core of the host.
    BLAS's threads spin while they wait for each other, which on a busy machine takes many times as long as one thread:
    large products are split by `multiply_rows`.
    """
    return threadpool_limits({"openmp": n, "blas": 1})


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Limit BLAS and torch to one thread within each of several threads that work in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
