"""A result on half a screen: one table of methods, and where the time went."""

from __future__ import annotations

from typing import Any

from transfer.evaluation.results import Result, are_given
from transfer.report.rendering import Table
from transfer.report.tables import seconds_by_phase
from transfer.report.verdict import find_pair
from transfer.report.wording import SCORES, format_points, format_score, format_seconds

# Phases that the line on time names.
PHASES = 3
# Intervals that fit 80 columns.
SHORT = "[{}, {}]"


def methods(result: Result) -> Table:
    """Return the methods with their scores and times, and by how much the best one is ahead of each.

    That is over the other splits of the same images where the best one was fitted to them, else on the test split.
    """
    select, best = result.comparison["select"], result.comparison["best"]
    repeated = result.comparison.get("repeats")
    if repeated and best not in [one["name"] for one in repeated["methods"]]:
        repeated = None
    pairs, value = (repeated["pairs"], "mean") if repeated else (result.comparison["pairs"], "difference")

    def ahead(name: str) -> str:
        pair: dict[str, Any] = find_pair(pairs, best, name) or {}
        return format_points(pair[select][value], pair[select]["ci95"], SHORT) if select in pair else "-"

    rows = [
        [
            method["name"],
            format_score(method["test"], "accuracy"),
            format_score(method["test"], "macro_f1"),
            ahead(method["name"]),
            format_seconds(method["fit_s"]),
            format_seconds(method["predict_s"]),
        ]
        for method in result.methods
    ]
    splits = repeated and f"{repeated['n']} other split{'s' if repeated['n'] > 1 else ''}"
    where = f"over {splits}" if splits else "on the test split"
    return Table(
        f"Methods on the test split, with 95 % intervals; points of {SCORES[select]} that {best} is ahead {where}",
        ["method", " accuracy", " macro F1", f" {best} ahead", " fit", " predict"],
        rows,
    )


def time(result: Result) -> str:
    """Say in one line how long the run took, and which phases took most of that."""
    spent = seconds_by_phase(result)
    longest = sorted(spent, key=lambda name: -spent[name])[:PHASES]
    of_it = ", ".join(f"{name} {format_seconds(spent[name])}" for name in longest)
    features, speed = result.features, result.features["images_per_s"]
    computed = (
        f"{features['computed']:,} images computed at {speed:.1f} images/s"
        if speed
        else f"{features['reused']:,} rows of features given"
        if are_given(result)
        else f"features of {features['reused']:,} images reused"
    )
    return f"Time: {format_seconds(result.seconds['total'])} ({of_it}); {computed}."
