from __future__ import annotations

from concurrent.futures import Future

import pytest
import torch

from transfer.heads.flushing import flushing_threads


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
