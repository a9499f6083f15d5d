from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import turns
from bench.studies import self_ratio


@pytest.mark.parametrize(("ratios", "off"), [([1.0], 0), ([1.02, 0.9], 1 / 0.9 - 1), ([1.2, 0.9], 0.2)])
def test_too_fast_is_as_far_off_as_too_slow(ratios: list[float], off: float) -> None:
    assert self_ratio.furthest(ratios) == pytest.approx(off)


@pytest.mark.parametrize(("found", "status"), [(1.07, 0), (1.09, 1), (1 / 1.09, 1)])
def test_the_command_ends_with_1_where_a_way_is_not_itself(
    found: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def operations(profile: Any) -> Iterator[dict[str, Any]]:
        yield {"sum": (time.time, 1), "left out": (time.time, 1)}

    monkeypatch.setattr(self_ratio, "operations", operations)
    both = {"one": [1.0, 3.0], "other": [found, 3 * found]}
    monkeypatch.setattr(self_ratio, "time_twice", lambda call, rounds, more_s: both)
    monkeypatch.setattr(self_ratio.torch, "set_num_threads", lambda count: None)
    path = tmp_path / "ratios.json"
    monkeypatch.setattr("sys.argv", ["self_ratio", "--runs", "2", "--only", "sum", "--json", str(path)])
    assert self_ratio.main() == status
    record = json.loads(path.read_text())
    assert record["ratios"] == {"sum": [found, found]}
    assert record["seconds"] == {"sum": [both, both]}
    assert record["machine"]["usable_cores"] > 0
    assert f"{self_ratio.furthest([found]):.1%}" in capsys.readouterr().out


def test_both_names_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "rest", lambda: None)
    calls: list[int] = []
    both = self_ratio.time_twice(lambda: calls.append(1), 3, 0)
    assert [len(own) for own in both.values()] == [3, 3]
    assert len(calls) == 8  # each is warmed up once
