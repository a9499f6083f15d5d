from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from transfer.config import RunConfig
from transfer.heads.flushing import flushed, flushing_threads
from transfer.heads.products import multiply_rows
from transfer.heads.registry import METHODS


def count_subnormal(values: torch.Tensor) -> int:
    """By their bits: a comparison may flush them."""
    bits = values.contiguous().view(torch.int32) & 0x7FFFFFFF
    return int(((bits > 0) & (bits < 0x00800000)).sum())


def tiny_products() -> list[torch.Tensor]:
    """An elementwise and a matrix product, large enough for torch to use several threads, of subnormal values."""
    return [
        torch.full((1 << 20,), 1e-30) * torch.full((1 << 20,), 1e-10),
        torch.full((512, 64), 1e-22) @ torch.full((64, 512), 1e-20),
    ]


needs_flushing = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="not on this processor")


@needs_flushing
@pytest.mark.parametrize("n_threads", [1, 3])
def test_all_of_a_threads_products_are_flushed_and_none_of_its_callers(n_threads: int) -> None:
    before = [count_subnormal(product) for product in tiny_products()]
    assert min(before) > 0
    with flushing_threads(n_threads) as pool:
        jobs = [pool.submit(tiny_products) for _ in range(2 * n_threads)]
        assert [count_subnormal(part) for job in jobs for part in job.result()] == [0, 0] * len(jobs)
    assert [count_subnormal(product) for product in tiny_products()] == before


def test_each_thread_has_one_core_and_the_caller_keeps_its_own() -> None:
    before = torch.get_num_threads()
    with flushing_threads(2) as pool:
        assert {pool.submit(torch.get_num_threads).result() for _ in range(4)} == {1}
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_an_error_is_raised_and_work_not_begun_is_cancelled() -> None:
    def fail() -> None:
        raise ValueError("as it should")

    begun: list[int] = []

    def run() -> None:
        with flushing_threads(1) as pool:
            job = pool.submit(fail)
            for i in range(1000):
                later.append(pool.submit(begun.append, i))
            job.result()

    later: list[Future[None]] = []
    with pytest.raises(ValueError, match="as it should"):
        run()
    assert all(job.done() for job in later)


@needs_flushing
@pytest.mark.parametrize("already", [False, True])
def test_a_block_is_flushed_and_then_the_thread_is_as_it_was(already: bool) -> None:
    def run() -> tuple[int, int]:
        torch.set_flush_denormal(already)
        values = torch.full((64,), 1e-30)
        with flushed():
            within = count_subnormal(values * 1e-10)
        return within, count_subnormal(values * 1e-10)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run).result() == (0, 0 if already else 64)


def rows_with_subnormals() -> tuple[npt.NDArray[Any], ...]:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    rows = (rng.standard_normal((60, 40)) + y[:, None]).astype(np.float32)
    few = rng.random(rows.shape) < 0.3
    return np.where(few, np.float32(1e-39), rows), np.where(few, np.float32(0), rows), y


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_search_takes_subnormal_numbers_as_zero(name: str) -> None:
    rows, zeros, y = rows_with_subnormals()
    assert count_subnormal(torch.from_numpy(rows)) > 0
    one, other = (
        METHODS[name].build(RunConfig(data="synthetic", device="cpu")).fit(x[:40], y[:40], x[40:], y[40:])
        for x in (rows, zeros)
    )
    assert one.best_params_ == other.best_params_
    assert np.array_equal(one.valid_predictions_, other.valid_predictions_)
    assert np.array_equal(one.predict_each(rows), other.predict_each(zeros))
    assert np.array_equal(one.best_estimator_.predict(rows), other.best_estimator_.predict(zeros))


@needs_flushing
@pytest.mark.parametrize("n_rows", [8, 1500])  # in this thread, and in several
def test_products_of_rows_are_flushed(n_rows: int) -> None:
    rows = np.full((n_rows, 256), 1e-21, np.float32)
    products = multiply_rows(rows, 2 * rows)
    assert count_subnormal(torch.from_numpy(products)) == 0
    assert count_subnormal(torch.full((64,), 1e-30) * 1e-10) == 64
