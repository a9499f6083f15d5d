"""Threads in which heads are trained: those of libraries, and pools."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from transfer.system.hardware import usable_cores
from transfer.system.thread_pools import StartedPool

_thread = threading.local()


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
    if hasattr(_thread, "cores"):  # set already; to set it again takes milliseconds
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def pool_of_fits(n: int) -> StartedPool:
    """Return a pool in which `n` fits share the cores: what is started by each has its share of them.

    To be used within `one_thread_each`. If each fit took all cores for its own pools, their threads would wait for
    each other.

    Parameters
    ----------
    n : int
        Number of threads, each of which fits one thing after the other.
    """
    return StartedPool(
        n, initializer=_start_thread, initargs=(max(1, usable_cores() // n), torch.get_num_threads())
    )


def pool_of_cores(tasks: int, initializer: Callable[[], None] | None = None) -> Executor:
    """Return a pool with a thread for each core that the calling thread may use, and no more than there are tasks.

    The threads share these cores, so that pools within pools have no more threads than there are cores. If that is
    one, functions are called in the calling thread.

    Parameters
    ----------
    tasks : int
    initializer : callable, optional
        Called once in each thread that is started.
    """
    own = own_cores()
    n = min(own, tasks)
    if n <= 1:
        return _CallingThread()

    limit = torch.get_num_threads()

    def begin() -> None:
        _start_thread(own // n, limit)
        if initializer:
            initializer()

    return StartedPool(n, initializer=begin)


def own_cores() -> int:
    """Return the number of cores that the calling thread may use: all, or a share within `pool_of_fits`."""
    return getattr(_thread, "cores", None) or usable_cores()


def _start_thread(cores: int, limit: int) -> None:
    """Give cores to a new thread, and torch's libraries their limit, which OpenMP keeps for each thread."""
    _thread.cores = cores
    torch.set_num_threads(limit)


class _CallingThread(Executor):
    """Calls functions at once, in the thread that asks for it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        return builtins.map(fn, *iterables)
