"""What the tests of benchmarks share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def outside_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-benchmark times nothing in a worker of pytest-xdist, nor in what that starts; sessions made here do."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
