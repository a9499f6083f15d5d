"""A plugin of pytest: benchmarks run in parts, in turn with another process; a wrong answer leaves no time."""

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
    """Every benchmark, then every one again. (pytest would keep the fixtures of a single one between its parts.)"""
    if ONCE not in os.environ:
        items *= PARTS


def pytest_collection_finish() -> None:
    """What is imported by now, both processes imported side by side; from here on they share a core."""
    if CORE in os.environ:
        os.sched_setaffinity(0, {int(os.environ[CORE])})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Wait for the turn, and give it to the other process; one that is gone is not waited for."""
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
    """pytest-benchmark keeps the times of a call that returned, whatever is asserted of it afterwards."""
    try:
        yield
    except BaseException:
        benchmark = getattr(item, "funcargs", {}).get("benchmark")
        if benchmark:
            benchmark.has_error = True
        raise
