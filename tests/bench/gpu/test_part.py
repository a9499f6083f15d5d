"""What a part keeps when something fails, and when its time is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.gpu.part import NO_CUDA, NO_TIME, Part
from bench.gpu.parts import PARTS
from bench.gpu.timing import time_blocks

ROW = {"operation": "a", "way": "b", "seconds": [1.0]}


def kept(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((part.out / f"{part.name}.json").read_text())
    return found


def fail() -> Any:
    yield ROW
    raise MemoryError("out of it")


def test_what_fails_is_left_out_with_the_reason(tmp_path: Path) -> None:
    part = Part("forward", "cpu", 60, tmp_path, tmp_path)
    part.run("good", lambda: [ROW])
    part.run("bad", fail)
    part.run("on a GPU", lambda: [ROW], needs_cuda=True)
    found = kept(part)
    assert [row["what"] for row in found["rows"]] == ["good"]
    assert found["left_out"] == [
        {"what": "bad", "why": "MemoryError: out of it"},
        {"what": "on a GPU", "why": NO_CUDA},
    ]
    assert not found["complete"]


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    part = Part("forward", "cpu", 0, tmp_path, tmp_path)
    part.run("late", fail)
    assert kept(part)["left_out"] == [{"what": "late", "why": NO_TIME}]


def test_shares_come_to_all_of_the_time() -> None:
    assert sum(spec.share for spec in PARTS) == pytest.approx(1)
    assert len({spec.name for spec in PARTS}) == len(PARTS)


def test_blocks_of_calls_are_timed() -> None:
    calls: list[int] = []
    found = time_blocks(lambda: calls.append(1), "cpu")
    assert len(calls) == 3 + found["calls"] * len(found["seconds"])
    assert "device_seconds" not in found
