"""A plugin of pytest: benchmarks are run in parts, and one whose answer is wrong leaves no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# A process goes through all benchmarks so often, with a share of each one's rounds: what disturbs it for seconds then
# meets a part of many benchmarks' rounds, which a median forgives, and not all rounds of one.
PARTS = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every benchmark, then every one again: two at least, since pytest keeps the fixtures of one that comes next again."""
    items *= PARTS


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
