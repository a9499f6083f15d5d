from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.processes import Prepared, Worker


@contextmanager
def prepare(left: Path, start: int) -> Iterator[Prepared]:
    counted = iter(range(start, 100))
    yield {"count": lambda: next(counted), "end": lambda: os._exit(3)}, {"pid": os.getpid()}
    left.write_text("left in order")


def test_a_process_of_its_own_keeps_what_it_prepared(tmp_path: Path) -> None:
    with Worker(prepare, tmp_path / "left", 7) as worker:
        assert worker.facts["pid"] != os.getpid()
        assert [worker.call("count") for _ in range(3)] == [7, 8, 9]
    assert (tmp_path / "left").read_text() == "left in order"


@pytest.mark.slow
def test_a_process_that_ended_is_an_error(tmp_path: Path) -> None:
    with Worker(prepare, tmp_path / "left", 0) as worker, pytest.raises(EOFError):
        worker.call("end")
