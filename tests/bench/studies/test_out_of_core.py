from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.studies import out_of_core

# Features of 410 MB, and less private memory than they take beside the libraries.
ROWS, WIDTH = 200_000, 512
ABOVE_LIBRARIES = 390 * 10**6


@pytest.mark.slow
def test_few_rows_are_predicted_as_in_memory(tmp_path: Path) -> None:
    out_of_core.make(tmp_path, 3000, 16)
    found = out_of_core.study("ridge", tmp_path, 2000, 10**11)
    assert found["few"]["same"] == 1
    assert 0.3 < found["accuracy"] <= 1
    assert found["private_bytes"] > 0
    assert "predicted as in memory" in out_of_core.line("ridge", found)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder of features, and the limit, on two cores: stacks of threads count against it."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:2])
    folder = tmp_path_factory.mktemp("features")
    out_of_core.make(folder, ROWS, WIDTH)
    yield folder, out_of_core.libraries_bytes() + ABOVE_LIBRARIES
    os.sched_setaffinity(0, cores)


@pytest.mark.exhaustive
def test_features_larger_than_the_memory_are_refused_by_it(features: tuple[Path, int]) -> None:
    folder, limit = features
    assert "allocate" in out_of_core.study("ridge", folder, 0, limit, in_memory=True)["error"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["fc", "svm", "ridge", "logreg"])
def test_heads_train_on_more_features_than_their_memory_takes(features: tuple[Path, int], name: str) -> None:
    folder, limit = features
    found = out_of_core.study(name, folder, 0, limit)
    assert "error" not in found, found
    assert found["accuracy"] > 0.9
