"""What a pytest-benchmark file says, as a table: `python -m bench.summary FILE`."""

from __future__ import annotations

import json
import statistics
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def table(benchmarks: list[dict[str, Any]]) -> Table:
    """Medians with their spread, and how many times as fast as the fastest reference each way is."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    drawn.add_column("operation and way", no_wrap=True)
    for name in ("median", "min", "max", "images/s", "speed-up"):
        drawn.add_column(name, justify="right", no_wrap=True)
    benchmarks = sorted(benchmarks, key=lambda b: b["group"])
    for operation, members in groupby(benchmarks, key=lambda b: b["group"]):
        ways = [(b["extra_info"], seconds(b)) for b in members]
        references = [statistics.median(data) for info, data in ways if info["way"].startswith("reference")]
        drawn.add_row(operation, style="bold")
        for info, data in sorted(ways, key=lambda way: statistics.median(way[1])):
            median = statistics.median(data)
            drawn.add_row(
                f"  {info['way']}{', scaled' if 'scaled_by' in info else ''}",
                _seconds(median),
                _seconds(min(data)),
                _seconds(max(data)),
                _rate(info["images"] / median) if "images" in info else "",
                f"{min(references) / median:.1f}x" if references else "",
            )
    return drawn


def seconds(benchmark: dict[str, Any]) -> list[float]:
    """Raw seconds of all rounds; of work that is too long to be done, from a part that is `scaled_by` so much."""
    scale = benchmark["extra_info"].get("scaled_by", 1)
    return [scale * second for second in benchmark["stats"]["data"]]


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}" if images_per_s >= 100 else f"{images_per_s:.1f}"


def _seconds(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main(path: Path) -> None:
    """Print the table of a file that `pytest --benchmark-json` wrote."""
    record = json.loads(path.read_text())
    machine = record["machine_info"]
    console = Console()
    console.print(f"\nTimes on {machine['processor']}, {machine['usable_cores']} cores", highlight=False)
    console.print(table(record["benchmarks"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
