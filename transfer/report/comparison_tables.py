"""The tables of a result on how its methods compare: pairs, other splits, groups, one change at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer.config import SCORE_NAMES
from transfer.evaluation.results import Result
from transfer.report.rendering import Table
from transfer.report.verdict import QUESTION, find_pair
from transfer.report.wording import SCORES, format_p, format_points, format_seconds


def pairs(result: Result) -> Table:
    """Return the differences on the test split of the best method to the others, and of the pair asked for."""
    rows = []
    for pair in shown_pairs(result):
        rows.append(
            [
                f"{pair['a']} - {pair['b']}",
                *(format_points(pair[s]["difference"], pair[s]["ci95"]) for s in SCORE_NAMES),
                f"{format_p(pair['accuracy']['p'])} / {format_p(pair['macro_f1']['p'])}",
                f"{format_p(pair['accuracy']['p_holm'])} / {format_p(pair['macro_f1']['p_holm'])}",
            ]
        )
    columns = ["pair", " accuracy", " macro F1", " p", " p (Holm)"]
    return Table(
        "Differences in points on the test split (95 % intervals; p: accuracy / macro F1, then for all pairs)",
        columns,
        rows,
    )


def shown_pairs(result: Result) -> list[dict[str, Any]]:
    """Return the entries of the best method against each other one, and of the pair that was asked for."""
    comparison = result.comparison
    best = comparison["best"]
    names = [method["name"] for method in result.methods]
    shown = [(best, name) for name in names if name != best]
    if comparison["best_of_kind"].keys() >= QUESTION:
        first, second = (comparison["best_of_kind"][kind] for kind in sorted(QUESTION, reverse=True))
        shown += [(first, second)] if best not in (first, second) else []
    found = [find_pair(comparison["pairs"], a, b) for a, b in shown]
    return [pair for pair in found if pair is not None]


def repeats(result: Result) -> Table:
    """Return the scores of every method over the other splits, and its difference to the best."""
    repeated, select = result.comparison["repeats"], result.comparison["select"]
    means = {method["name"]: np.mean(method[select]) for method in repeated["methods"]}
    top = max(means, key=lambda name: means[name])
    rows = []
    for method in repeated["methods"]:
        pair = find_pair(repeated["pairs"], top, method["name"])
        rows.append(
            [
                method["name"],
                *(_spread(method[score]) for score in SCORE_NAMES),
                "-" if pair is None else format_points(pair[select]["mean"], pair[select]["ci95"]),
                "-" if pair is None else f"{pair[select]['won']} of {repeated['n']}",
            ]
        )
    how = "one group left out after the other" if repeated["scheme"] == "groups" else "random, stratified"
    return Table(
        f"Other splits of the same images: {repeated['n']}, {how} (mean, least to most; {top} against each in "
        f"points of {SCORES[select]}, corrected 95 % interval)",
        ["method", " accuracy", " macro F1", f" {top} ahead by", " ahead in"],
        rows,
    )


def groups(result: Result) -> Table:
    """Return the scores on each group that was left out."""
    repeated = result.comparison["repeats"]
    rows = [
        [
            name,
            f"{repeated['test_images'][i]:,}",
            *(f"{method['accuracy'][i]:.2f} / {method['macro_f1'][i]:.2f}" for method in repeated["methods"]),
        ]
        for i, name in enumerate(repeated["names"])
    ]
    return Table(
        "Each group as the test split (accuracy / macro F1)",
        ["group", " images", *(f" {method['name']}" for method in repeated["methods"])],
        rows,
    )


def ladder(result: Result) -> Table:
    """Return the effect of each change from the lab's fine-tuning to the best method."""
    rows = []
    for rung in result.comparison["ladder"]:
        change = rung["change"]
        rows.append(
            [
                rung["step"],
                f"{rung['accuracy']:.3f}",
                f"{rung['macro_f1']:.3f}",
                *(
                    "-" if change is None else format_points(change[s]["difference"], change[s]["ci95"])
                    for s in SCORE_NAMES
                ),
                format_seconds(rung["fit_s"]),
            ]
        )
    columns = ["change", " accuracy", " macro F1", " accuracy +-", " macro F1 +-", " fit"]
    return Table(
        "One change at a time, on the test split (+-: points against the line above, 95 % intervals)",
        columns,
        rows,
    )


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ({min(values):.2f}-{max(values):.2f})"
