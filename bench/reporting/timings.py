"""The benchmarks of a record, by operation and way, the fastest first, with formatted figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

CPU, GPU = "cpu", "cuda"
DEVICES = {CPU: "CPU", GPU: "GPU"}
REFERENCE = "reference: "
Benchmark = dict[str, Any]


def operations(benchmarks: Iterable[Benchmark]) -> dict[str, list[Benchmark]]:
    """Group benchmarks by operation, in alphabetical order."""
    found: dict[str, list[Benchmark]] = {}
    for benchmark in sorted(benchmarks, key=itemgetter("operation")):
        found.setdefault(benchmark["operation"], []).append(benchmark)
    return found


def on(benchmarks: Iterable[Benchmark], device: str) -> list[Benchmark]:
    """Return the benchmarks on a device."""
    return [benchmark for benchmark in benchmarks if benchmark["device"] == device]


def amount(benchmarks: Iterable[Benchmark]) -> str:
    """Describe the amount of work of benchmarks of one operation on one device, `16 images`; empty if they differ."""
    amounts = _amounts(benchmarks)
    return amounts.pop() if len(amounts) == 1 else ""


def labelled(benchmarks: Sequence[Benchmark]) -> dict[str, Benchmark]:
    """Return benchmarks of one operation on one device by the name of their way; equal names get what differs."""
    short = [name_way(benchmark) for benchmark in benchmarks]
    several = len(_amounts(benchmarks)) > 1
    found = {}
    for label, benchmark in zip(short, benchmarks, strict=True):
        if short.count(label) > 1 and "batch" in benchmark:
            label += f", batch {benchmark['batch']}"
        if several and (own := _amount(benchmark)):
            label += f", {own}"
        found[label] = benchmark
    return found


def by_time(*columns: dict[str, Benchmark]) -> list[str]:
    """Return all labels, sorted by their time in the first column that contains them."""
    first = {label: i for i, column in reversed(list(enumerate(columns))) for label in column}
    return sorted(first, key=lambda label: (first[label], median_s(columns[first[label]][label])))


def median_s(benchmark: Benchmark) -> float:
    """Return the median of all rounds, for the whole work."""
    seconds: list[float] = benchmark["seconds"]
    return statistics.median(seconds) * float(benchmark.get("scaled_by", 1))


def times_as_fast(ours: Benchmark, reference: Benchmark, *, in_turn: bool = True) -> float:
    """Return how many times as fast ours is as a reference: the median ratio of the rounds that both took part in.

    Of ways that were not timed in turn it is the ratio of medians. A round takes all ways within seconds, so that a
    machine that gets slower for a while slows both. Of a way against itself, from 7 rounds on, it was off by up to
    6.7 %, the ratio of medians by up to 9.5 % (`bench.studies.self_ratio --runs 4`, 2 shared cores).
    """
    if not in_turn:
        return median_s(reference) / median_s(ours)
    # Long ways take part in the first rounds alone.
    rounds = zip(ours["seconds"], reference["seconds"], strict=False)
    scale = float(reference.get("scaled_by", 1)) / float(ours.get("scaled_by", 1))
    return float(statistics.median(reference_s / ours_s for ours_s, reference_s in rounds)) * scale


def time_and_rate(benchmark: Benchmark | None) -> list[str]:
    """Format the median with minimum and maximum, in one unit, and images a second."""
    if benchmark is None:
        return ["-", ""]
    typical_s, scale = median_s(benchmark), benchmark.get("scaled_by", 1)
    unit, unit_s = unit_of(typical_s)
    figure = partial(_figure, digits_of=typical_s / unit_s)
    shown = f"{figure(typical_s / unit_s)} {unit}"
    if len(benchmark["seconds"]) > 1:
        least, most = (figure(bound(benchmark["seconds"]) * scale / unit_s) for bound in (min, max))
        shown += f" ({least}-{most})"
    return [shown, rate(benchmark)]


def rate(benchmark: Benchmark) -> str:
    """Format images a second; empty for what goes through no images."""
    return _figure(benchmark["images"] / median_s(benchmark)) if "images" in benchmark else ""


def spread_of(benchmark: Benchmark) -> float | None:
    """Return maximum minus minimum as a share of the median; None of a single round."""
    seconds: list[float] = benchmark["seconds"]
    return (max(seconds) - min(seconds)) / statistics.median(seconds) if len(seconds) > 1 else None


def spread(benchmark: Benchmark) -> str:
    """Format the spread in per cent; empty of a single round."""
    share = spread_of(benchmark)
    return "" if share is None else f"{100 * share:,.0f} %"


def unit_of(seconds: float) -> tuple[str, float]:
    """Return the unit in which to show a duration, and its length in seconds."""
    return ("min", 60) if seconds >= 120 else ("s", 1) if seconds >= 1 else ("ms", 1e-3)


def duration(seconds: float) -> str:
    """Format seconds in a suitable unit."""
    unit, unit_s = unit_of(seconds)
    return f"{_figure(seconds / unit_s)} {unit}"


def ratio(value: float) -> str:
    """Format a ratio, `4.3x`; below 1 with digits that are not zero, so that a small ratio never reads as 0."""
    figure = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return f"{figure if value >= 0.1 else f'{value:.2g}'}x"


def _amounts(benchmarks: Iterable[Benchmark]) -> set[str]:
    return {amount for benchmark in benchmarks if (amount := _amount(benchmark))}


def _amount(benchmark: Benchmark) -> str:
    work = [benchmark["network"]] if "network" in benchmark else []
    work += ["x".join(map(str, benchmark["shape"]))] if "shape" in benchmark else []
    parts = [" ".join(work)] if work else []
    if "images" in benchmark:
        parts.append(f"{benchmark['images']:,} image{'s' if benchmark['images'] > 1 else ''}")
    return ", ".join(parts)


def name_way(benchmark: Benchmark) -> str:
    """Name a way with its precision, whether it is a reference, and whether it was timed in part."""
    name = f"{REFERENCE if benchmark['reference'] else ''}{benchmark['way']}"
    name += f" {benchmark['precision']}" if "precision" in benchmark else ""
    return f"{name}, scaled" if "scaled_by" in benchmark else name


def _figure(value: float, digits_of: float | None = None) -> str:
    """Format about three digits; after the point as many as `digits_of` has, so that related figures match."""
    size = value if digits_of is None else digits_of
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4}f}"
