from __future__ import annotations

from pathlib import Path

import pytest

from bench.studies import many_rows


@pytest.mark.slow
def test_every_step_is_timed_and_nothing_is_left(tmp_path: Path) -> None:
    found = many_rows.study(tmp_path, 5000, 8)
    assert found.keys() == {*many_rows.STEPS, "peak_bytes"}
    assert min(found.values()) > 0
    assert not list(tmp_path.rglob("*.parquet"))
