"""A Ray cluster on this machine, for the tests that need one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores; whoever is connected to one uses it, and leaves it."""
    ray = pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets are short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=2**28,
            _temp_dir=folder,
            log_to_driver=False,
        )
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
