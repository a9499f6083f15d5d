"""A pytest plugin: benchmarks run in parts, in turn with another process; a wrong answer leaves no time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

# A process goes through all benchmarks so often, with a share of each one's rounds.
PARTS = 3
# Descriptors to wait on and to write to, and the core to be on: both processes of a block have the same one, and while
# one runs a part of a benchmark, the other waits. So other load on the machine in that second affects both.
TURNS, CORE = "GATE_TURNS", "GATE_CORE"
# Set where one part is enough, to see what runs.
ONCE = "GATE_ONCE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Repeat the list of benchmarks, part by part: pytest would keep fixtures between consecutive parts of one."""
    if ONCE not in os.environ:
        items *= PARTS


def pytest_collection_finish() -> None:
    """Pin the process to the shared core, after both processes have done their imports in parallel."""
    if CORE in os.environ:
        os.sched_setaffinity(0, {int(os.environ[CORE])})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Wait for the turn, and give it to the other process, unless that has ended."""
    turns = [int(descriptor) for descriptor in os.environ.get(TURNS, "").split(",") if descriptor]
    if turns:
        os.read(turns[0], 1)
    try:
        return (yield)
    finally:
        if turns:
            with suppress(BrokenPipeError):
                os.write(turns[1], b".")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Mark a failed benchmark: pytest-benchmark keeps the times of a call that returned, even if a check fails."""
    try:
        yield
    except BaseException:
        benchmark = getattr(item, "funcargs", {}).get("benchmark")
        if benchmark:
            benchmark.has_error = True
        raise
