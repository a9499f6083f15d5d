"""Pools of threads that share the cores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import pytest
import torch
from threadpoolctl import threadpool_info

from transfer.heads import threads
from transfer.heads.threads import one_thread_each, pool_of_cores, pool_of_fits


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _threads_of_a_pool() -> int:
    """Number of threads that work at the same time in a pool that is started here, of at most four."""
    own = threading.get_ident()
    with pool_of_cores(8) as pool:
        if pool.submit(threading.get_ident).result() == own:
            return 1
        return pool._max_workers  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("fits", "each"), [(1, 4), (2, 2), (4, 1), (9, 1)])
def test_fits_share_the_cores(fits: int, each: int) -> None:
    with one_thread_each(), pool_of_fits(fits) as pool:
        assert pool.submit(_threads_of_a_pool).result() == each
    assert _threads_of_a_pool() == 4


@pytest.mark.parametrize(("tasks", "each"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_pools_within_a_pool_share_its_cores(tasks: int, each: int) -> None:
    with pool_of_cores(tasks) as pool:
        assert pool.submit(_threads_of_a_pool).result() == each


def test_the_calling_thread_gives_results_and_errors_as_a_pool_does() -> None:
    def work() -> list[float]:
        with pool_of_cores(8) as pool:
            with pytest.raises(ZeroDivisionError):
                pool.submit(lambda: 1 / 0).result()
            with pytest.raises(ZeroDivisionError):
                list(pool.map(lambda x: 1 / x, [1, 0]))
            return list(pool.map(lambda x, y: x / y, [1, 2], [2, 2]))

    with one_thread_each(), pool_of_fits(4) as pool:
        assert pool.submit(work).result() == work() == [0.5, 1.0]


@pytest.mark.parametrize("pool_of", [pool_of_cores, pool_of_fits])
def test_threads_of_a_pool_limit_libraries_as_the_calling_thread_does(
    pool_of: Callable[[int], Executor],
) -> None:
    def limits() -> set[int]:
        libraries = (own for own in threadpool_info() if own["user_api"] == "openmp")
        return {own["num_threads"] for own in libraries if "torch" in own["filepath"]}

    with torch_threads(3), pool_of(2) as pool:  # a number that OpenMP would not choose by itself
        assert pool.submit(limits).result() == {3}


def test_within_a_fit_the_limits_stay() -> None:
    def work() -> tuple[int, int]:
        with one_thread_each():
            inside = torch.get_num_threads()
        return inside, torch.get_num_threads()

    with one_thread_each(), pool_of_fits(2) as pool:
        assert pool.submit(work).result() == (1, 1)
