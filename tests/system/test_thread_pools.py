"""Pools of threads: all are started at once, and work that has not begun is dropped on an error."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from transfer.system.errors import UserError
from transfer.system.thread_pools import StartedPool


def test_all_threads_run_before_there_is_work() -> None:
    before = threading.active_count()
    with StartedPool(5):
        assert threading.active_count() == before + 5
    assert threading.active_count() == before


def test_each_thread_is_initialised() -> None:
    named: list[str] = []
    with StartedPool(3, initializer=named.append, initargs=("ready",)) as pool:
        assert pool.submit(int).result(10) == 0
    assert named == ["ready"] * 3


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what is used of the memory is not known")
@pytest.mark.parametrize(("limit", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_no_thread_is_started_where_there_is_no_memory_for_all_of_them(limit: str, field: int) -> None:
    program = f"""
import resource, threading
from transfer.system.thread_pools import BYTES_EACH, StartedPool

used = int(open("/proc/self/statm").read().split()[{field}]) * resource.getpagesize()
resource.setrlimit(resource.{limit}, (used + 7 * BYTES_EACH, -1))
try:
    StartedPool(8)
except MemoryError:
    print(threading.active_count())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("1\n", "")


def test_threads_end_where_another_can_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RuntimeError, match="can't start"):
        StartedPool(3)
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)


def test_threads_do_all_their_work_where_nothing_fails() -> None:
    done: list[int] = []
    with StartedPool(2) as pool:
        futures = [pool.submit(done.append, i) for i in range(20)]
        for future in futures:
            future.result(10)
    assert sorted(done) == list(range(20))


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt])
def test_threads_drop_what_has_not_begun_when_the_body_fails(error: type[BaseException]) -> None:
    begun = threading.Event()
    done: list[int] = []
    later: list[Future[None]] = []

    def first() -> None:
        begun.set()
        # Futures are cancelled in the order of their submission; the only thread is kept until then.
        for _ in range(1000):
            if len(later) == 50 and later[-1].cancelled():
                break
            time.sleep(0.002)
        done.append(0)

    def body() -> None:
        with StartedPool(1) as pool:
            pool.submit(first)
            assert begun.wait(10)
            later.extend(pool.submit(done.append, i) for i in range(1, 51))
            raise error("stop")

    with pytest.raises(error, match="stop"):
        body()
    assert done == [0]
