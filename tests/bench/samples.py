"""Small records and files of pytest-benchmark, made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.reporting import record
from bench.reporting.record import Record
from tests.samples import EXAMPLE

RECORDED = Path(__file__).parents[1] / "recorded"
OLD_FILES = sorted(RECORDED.glob("record-v*.json"))


def benchmark(
    operation: str = "fit, SVM",
    way: str = "svm",
    seconds: tuple[float, ...] = (0.2, 0.1, 0.4),
    **more: Any,
) -> dict[str, Any]:
    """A benchmark as records hold it."""
    usual = {"reference": False, "device": "cpu", "threads": 2}
    return {**usual, **more, "operation": operation, "way": way, "seconds": list(seconds)}


def made_up(
    *benchmarks: dict[str, Any], run: dict[str, Any] | None = None, gpu: str = "", **more: Any
) -> Record:
    """A valid record with these benchmarks; `run` and `more` replace parts of it."""
    old = record.load(OLD_FILES[0])
    environment = {**old.environment, "gpus": [{"name": gpu}] if gpu else [], **more.pop("environment", {})}
    return replace(
        old,
        environment=environment,
        machine=record.machine(environment),
        run={**old.run, **(run or {})},
        benchmarks=list(benchmarks) or [benchmark()],
        **more,
    )


def written(made: Record, path: Path) -> Path:
    """The path of a record's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.to_json())
    return path


def timed(*benchmarks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What `pytest bench --benchmark-json` writes, on the machine of `EXAMPLE`."""
    return {
        "machine_info": json.loads(EXAMPLE.read_text())["environment"],
        "datetime": "2026-11-24T08:00:00.123456+00:00",
        "profile": "fast",
        "benchmarks": [
            {
                "group": b["operation"],
                "extra_info": {key: b[key] for key in b.keys() - {"operation", "seconds"}},
                "stats": {"data": b["seconds"], "min": min(b["seconds"])},
            }
            for b in benchmarks or (benchmark(),)
        ],
        **more,
    }
