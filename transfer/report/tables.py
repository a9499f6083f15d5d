"""The tables of a result."""

from __future__ import annotations

from typing import Any

from transfer.evaluation.results import Result, are_given
from transfer.report import comparison_tables, confidence
from transfer.report.rendering import Table
from transfer.report.wording import (
    SCORES,
    format_params,
    format_points,
    format_score,
    format_seconds,
    format_setting,
    format_share,
)

# Phases that a run with all features in the cache has as well, before anything is fitted.
WARM_PHASES = ("read", "open cache", "load", "transform")


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
        1 settings, 2 methods, 3 classes; probabilities, pairs of methods, other splits, the ladder and int8 if there
        are any; the time of each phase.
    """
    comparison = result.comparison
    found = [settings(result, most_settings), methods(result), classes(result)]
    if all("calibration" in method for method in result.methods):
        found.append(confidence.table(result))
    if any("accuracy" in pair for pair in comparison["pairs"]):
        found.append(comparison_tables.pairs(result))
    if comparison.get("repeats"):
        found.append(comparison_tables.repeats(result))
        if comparison["repeats"]["scheme"] == "groups":
            found.append(comparison_tables.groups(result))
    if len(comparison.get("ladder") or []) > 1:
        found.append(comparison_tables.ladder(result))
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
    rows = []
    for method in result.methods:
        cold_s, warm_s = total_seconds(result, method)
        rows.append(
            [
                method["name"],
                format_params(method["best_params"]),
                format_score(method["test"], "accuracy"),
                format_score(method["test"], "macro_f1"),
                format_seconds(method["fit_s"]),
                format_seconds(method["predict_s"]),
                "-" if cold_s is None else format_seconds(cold_s),
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


def total_seconds(result: Result, method: dict[str, Any]) -> tuple[float | None, float]:
    """Return the seconds from images to predictions of one method, with an empty and with a full store.

    Parameters
    ----------
    result : Result
    method : dict
        Entry of the method.

    Returns
    -------
    cold_s : float or None
        None where the features were computed on another machine.
    warm_s : float
    """
    prepare_s = sum(sum(result.seconds.get(phase, [])) for phase in WARM_PHASES)
    warm_s = prepare_s + method["fit_s"] + method["predict_s"]
    computed_s = result.features["cold_seconds"]
    return None if computed_s is None else computed_s + warm_s, warm_s


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


def seconds_by_phase(result: Result) -> dict[str, float]:
    """Return the seconds of each phase, all its parts together."""
    return {name: sum(values) for name, values in result.seconds.items() if name != "total"}


def phases(result: Result) -> Table:
    """Return the time of each phase; phases under half a per cent are summed up."""
    total = result.seconds["total"]
    spent = seconds_by_phase(result)
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
    reused = f"{result.features['reused']} {'given' if are_given(result) else 'reused'}"
    return Table(
        f"Where the time went ({computed}, {reused})",
        ["phase", " seconds", " share"],
        [*rows, ["total", format_seconds(total), "100%"]],
    )
