from __future__ import annotations

from pathlib import Path

import pytest

from bench.studies import out_of_core

# Features of 307 MB, and less private memory than they take beside the libraries.
ROWS, WIDTH = 150_000, 512
ABOVE_LIBRARIES = 290 * 10**6


@pytest.mark.slow
def test_few_rows_are_predicted_as_in_memory(tmp_path: Path) -> None:
    out_of_core.make(tmp_path, 3000, 16)
    found = out_of_core.study("ridge", tmp_path, 2000, 10**11)
    assert found["few"]["same"] == 1
    assert 0.3 < found["accuracy"] <= 1
    assert found["private_bytes"] > 0
    assert "predicted as in memory" in out_of_core.line("ridge", found)


@pytest.mark.exhaustive
def test_heads_train_on_more_features_than_their_memory_takes(tmp_path: Path) -> None:
    out_of_core.make(tmp_path, ROWS, WIDTH)
    limit = out_of_core.libraries_bytes() + ABOVE_LIBRARIES
    failed = out_of_core.study("ridge", tmp_path, 0, limit, in_memory=True)
    assert "allocate" in failed["error"]
    for name in ("fc", "svm", "ridge", "logreg"):
        found = out_of_core.study(name, tmp_path, 0, limit)
        assert "error" not in found, (name, found)
        assert found["accuracy"] > 0.9
