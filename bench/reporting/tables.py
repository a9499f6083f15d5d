"""Tables of a record: accuracies, every way with its times, every ratio."""

from __future__ import annotations

from typing import Any

from bench.reporting import timings
from bench.reporting.comparison import SHORT_S
from bench.reporting.record import Record
from bench.reporting.timings import (
    DEVICES,
    REFERENCE,
    Benchmark,
    amount,
    by_time,
    labelled,
    median_s,
    on,
    operations,
)
from transfer.config import SCORE_NAMES
from transfer.report.rendering import Table


def accuracies(shown: Record) -> Table:
    """Tabulate accuracy and macro F1 on the test split by method, with intervals, and the time of the search."""
    run = shown.run
    rows = [
        [
            method["name"],
            method["kind"],
            *(with_interval(method, score) for score in SCORE_NAMES),
            str(method["settings"]),
            timings.duration(method["fit_s"]),
        ]
        for method in run["methods"]
    ]
    title = f"{run['data']['name']}: {sum(run['data']['test'])} test images, {network(run)}, 95 % intervals"
    return Table(title, ["method", "kind", " accuracy", " macro F1", " settings", " fit"], rows)


def network(run: dict[str, Any]) -> str:
    """Name the network of a run and its weights, `resnet50 (embedded weights, 74eabe78)`: the package's may change."""
    backbone = run["backbone"]
    return f"{backbone['name']} ({backbone['weights']} weights, {backbone['weights_sha256'][:8]})"


def ways(shown: Record) -> Table:
    """Tabulate every way of every operation on each device, the fastest first.

    Returns
    -------
    Table
        Medians with minimum and maximum, the spread (maximum minus minimum, of the median), images a second, and the
        least cosine of features with those of fp32.
    """
    rows = []
    for operation, benchmarks in operations(shown.benchmarks).items():
        for device, name in DEVICES.items():
            found = labelled(on(benchmarks, device))
            if found:
                rows.append([f"{operation}, {name}", amount(found.values()), "", "", ""])
            for label in by_time(found):
                way = found[label]
                cosine = f"{way['cosine']:.4f}" if "cosine" in way else ""
                time, rate = timings.time_and_rate(way)
                rows.append([f"  {label}", time, timings.spread(way), rate, cosine])
    columns = ["operation and way", " median (least-most)", " spread", " images/s", " cosine"]
    return Table("Every way: time for so many images or rows, the fastest first", columns, rows)


def ratios(shown: Record) -> Table:
    """Tabulate how many times as fast as each reference on the same device each of our ways is, the fastest first."""
    found = []
    for operation, benchmarks in operations(shown.benchmarks).items():
        for device, name in DEVICES.items():
            ways = labelled(on(benchmarks, device))
            ours = [label for label in by_time(ways) if not ways[label]["reference"]]
            references = [label for label in by_time(ways) if ways[label]["reference"]]
            if ours and references:
                found.append([f"{operation}, {name}", *(ref.removeprefix(REFERENCE) for ref in references)])
            for label in ours if references else []:
                cells = [times_as_fast(ways[label], ways[ref], in_turn=shown.in_turn) for ref in references]
                found.append([f"  {label}", *cells])
    width = max(map(len, found), default=1)
    rows = [[*row, *[""] * (width - len(row))] for row in found]
    title = "Ours against each reference: times as fast, our best way first; below 1x is slower"
    return Table(title, ["operation and way", *[" "] * (width - 1)], rows)


def times_as_fast(ours: Benchmark, reference: Benchmark, *, in_turn: bool) -> str:
    """Format how many times as fast ours is; no ratio if both times are too short for one."""
    if max(median_s(ours), median_s(reference)) < SHORT_S:
        return "both short"
    return timings.ratio(timings.times_as_fast(ours, reference, in_turn=in_turn))


def with_interval(method: dict[str, Any], score: str) -> str:
    """Format a score with its interval."""
    low, high = method[f"{score}_ci95"]
    return f"{method[score]:.3f} ({low:.2f}-{high:.2f})"


def day(shown: Record) -> str:
    """Return the day of a record."""
    return shown.created[:10]


def commit(environment: dict[str, Any]) -> str:
    """Return the abbreviated commit, and whether the tree differed from it."""
    revision = (environment.get("commit") or "unknown")[:7]
    return f"{revision} with changes" if environment.get("dirty") else revision


def load(environment: dict[str, Any]) -> str:
    """Format the load of the minute before it began, marked if others used more than half of the cores."""
    if not environment.get("load_before"):
        return "not taken"
    before: float = environment["load_before"][0]
    return f"{before:.1f}, busy" if before > environment["usable_cores"] / 2 else f"{before:.1f}"
