from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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
    monkeypatch.setattr(self_ratio, "ratio", lambda call, rounds, more_s: found)
    monkeypatch.setattr(self_ratio.torch, "set_num_threads", lambda count: None)
    path = tmp_path / "ratios.json"
    monkeypatch.setattr("sys.argv", ["self_ratio", "--runs", "2", "--only", "sum", "--json", str(path)])
    assert self_ratio.main() == status
    record = json.loads(path.read_text())
    assert record["ratios"] == {"sum": [found, found]}
    assert record["machine"]["usable_cores"] > 0
    assert f"{self_ratio.furthest([found]):.1%}" in capsys.readouterr().out


def test_both_names_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        self_ratio, "time_in_turn", lambda ways, rounds, more_s: {"one": [2.0] * rounds, "other": [1.0]}
    )
    assert self_ratio.ratio(time.time, 3, 0) == 2
