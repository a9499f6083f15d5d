"""What the tests of benchmarks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def outside_xdist() -> Iterator[None]:
    """pytest-benchmark times nothing in a worker of pytest-xdist, nor in what that starts; sessions made here do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("PYTEST_XDIST_WORKER", raising=False)
        yield
