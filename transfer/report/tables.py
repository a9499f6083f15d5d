"""The tables of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer.evaluation.results import Result
from transfer.report.rendering import Table
from transfer.report.verdict import QUESTION, find_pair
from transfer.report.wording import (
    SCORES,
    format_p,
    format_params,
    format_points,
    format_score,
    format_seconds,
    format_setting,
    format_share,
)

# Phases that a run with all features in the cache has as well, before anything is fitted.
WARM_PHASES = ("read", "open cache", "load")


def tables(result: Result, *, most_settings: int | None = None) -> list[Table]:
    """Return all tables that the result has figures for.

    Parameters
    ----------
    result : Result
    most_settings : int, optional
        Number of the best settings of a method that Table 1 shows; all by default.

    Returns
    -------
    list of Table
        1 settings, 2 methods, 3 classes; pairs of methods, other splits, the ladder and int8 if there are any;
        the time of each phase.
    """
    comparison = result.comparison
    found = [settings(result, most_settings), methods(result), classes(result)]
    if any("accuracy" in pair for pair in comparison["pairs"]):
        found.append(pairs(result))
    if comparison.get("repeats"):
        found.append(repeats(result))
        if comparison["repeats"]["scheme"] == "groups":
            found.append(groups(result))
    if len(comparison.get("ladder") or []) > 1:
        found.append(ladder(result))
    if result.engine.get("cosine_with_fp32"):
        found.append(int8(result))
    return [*found, phases(result)]


def settings(result: Result, most: int | None = None) -> Table:
    """Return Table 1: the validation scores of every setting; test scores would invite choosing by them.

    Parameters
    ----------
    result : Result
    most : int, optional
        Number of settings of a method; all by default.
    """
    select, rows = result.comparison["select"], []
    for method in result.methods:
        sweep = method["sweep"]
        best = sorted(range(len(sweep)), key=lambda i: -sweep[i]["valid"][select])[:most]
        chosen = next(i for i, row in enumerate(sweep) if row["params"] == method["best_params"])
        shown = sorted({*best, chosen})
        for i in shown:
            row = sweep[i]
            rows.append(
                [
                    method["name"] if i == shown[0] else "",
                    format_setting(row) + (" *" if i == chosen else ""),
                    f"{row['valid']['accuracy']:.3f}",
                    f"{row['valid']['macro_f1']:.3f}",
                    format_seconds(row["fit_s"]),
                ]
            )
        if left_out := len(sweep) - len(shown):
            rows.append(["", f"and {left_out} more", "", "", ""])
    return Table(
        f"Table 1: settings, on the validation split (* chosen, by {SCORES[select]})",
        ["method", "setting", " accuracy", " macro F1", " fit"],
        rows,
    )


def methods(result: Result) -> Table:
    """Return Table 2: the chosen setting of every method on the test split, and its times."""
    prepare_s = sum(sum(result.seconds.get(phase, [])) for phase in WARM_PHASES)
    cold_s = result.features["cold_seconds"]
    rows = []
    for method in result.methods:
        warm_s = prepare_s + method["fit_s"] + method["predict_s"]
        rows.append(
            [
                method["name"],
                format_params(method["best_params"]),
                format_score(method["test"], "accuracy"),
                format_score(method["test"], "macro_f1"),
                format_seconds(method["fit_s"]),
                format_seconds(method["predict_s"]),
                "-" if cold_s is None else format_seconds(cold_s + warm_s),
                format_seconds(warm_s),
            ]
        )
    columns = [
        "method",
        "setting",
        " accuracy",
        " macro F1",
        " fit",
        " predict",
        " cold total",
        " warm total",
    ]
    return Table("Table 2: methods, on the test split (cold: with an empty store)", columns, rows)


def classes(result: Result) -> Table:
    """Return Table 3: the recall of every class."""
    first = result.methods[0]["test"]["per_class"]
    rows = [
        [
            entry["class"],
            str(entry["support"]),
            *(format_share(method["test"]["per_class"][c]["recall"]) for method in result.methods),
        ]
        for c, entry in enumerate(first)
    ]
    columns = ["class", " test", *(f" {method['name']}" for method in result.methods)]
    return Table(
        "Table 3: accuracy per class (recall, test split; test: images of the class in it)", columns, rows
    )


def pairs(result: Result) -> Table:
    """Return the differences on the test split of the best method to the others, and of the pair asked for."""
    rows = []
    for pair in shown_pairs(result):
        rows.append(
            [
                f"{pair['a']} - {pair['b']}",
                *(format_points(pair[s]["difference"], pair[s]["ci95"]) for s in ("accuracy", "macro_f1")),
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
                *(_spread(method[score]) for score in ("accuracy", "macro_f1")),
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
                    for s in ("accuracy", "macro_f1")
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


def int8(result: Result) -> Table:
    """Return the changes of predictions due to int8 features."""
    cosine = result.engine["cosine_with_fp32"]
    rows = []
    for method in result.methods:
        change = method["int8_against_fp32"]
        points = format_points(change["accuracy_difference"], change["accuracy_difference_ci95"])
        rows.append([method["name"], f"{change['changed']:.1%}", points])
    return Table(
        f"What int8 cost: methods fitted on int8 features, given {cosine['images']} test images in int8 and in fp32 "
        f"(cosine {cosine['min']:.4f} at least, median {cosine['median']:.4f})",
        ["method", " predictions changed", " points of accuracy (95 %)"],
        rows,
    )


def phases(result: Result) -> Table:
    """Return the time of each phase; phases under half a per cent are summed up."""
    total = result.seconds["total"]
    spent = {name: sum(values) for name, values in result.seconds.items() if name != "total"}
    shown = {name: seconds for name, seconds in spent.items() if seconds >= 0.005 * total}
    shown["everything else"] = max(0.0, total - sum(shown.values()))
    rows = [
        [name, format_seconds(seconds), f"{seconds / total:.0%}" if total else "-"]
        for name, seconds in shown.items()
    ]
    speed = result.features["images_per_s"]
    computed = (
        f"{result.features['computed']} images computed at {speed:.1f} images/s"
        if speed
        else "nothing computed"
    )
    return Table(
        f"Where the time went ({computed}, {result.features['reused']} reused)",
        ["phase", " seconds", " share"],
        [*rows, ["total", format_seconds(total), "100%"]],
    )


def side_by_side(results: Sequence[Result]) -> Table:
    """Return one row for every method of every result, numbered in their order, without averages over results."""
    rows = [
        [
            str(number),
            result.data["name"],
            f"{result.backbone['name']} {result.backbone['weights']}",
            f"{result.environment['processor']}, {result.engine['device']} {result.engine['precision']}",
            method["name"],
            format_score(method["test"], "accuracy"),
            format_score(method["test"], "macro_f1"),
            format_seconds(method["fit_s"]),
            "-"
            if result.features["cold_seconds"] is None
            else format_seconds(result.features["cold_seconds"]),
        ]
        for number, result in enumerate(results, 1)
        for method in result.methods
    ]
    columns = ["#", "data", "backbone", "machine", "method", " accuracy", " macro F1", " fit", " cold"]
    return Table(
        "Results side by side, on the test split (cold: features from an empty store)", columns, rows
    )


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ({min(values):.2f}-{max(values):.2f})"
