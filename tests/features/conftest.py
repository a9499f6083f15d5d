"""A Ray cluster on this machine, for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from transfer.features.ray_pool import started


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores; whoever is connected to one uses it, and leaves it."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with started(2):
            yield
