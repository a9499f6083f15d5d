"""The tables of several results."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from transfer.config import SCORE_NAMES
from transfer.report.differences import Difference, label
from transfer.report.frontier import Point, format_time
from transfer.report.rendering import Table, wrap
from transfer.report.runs import Run, common_and_different
from transfer.report.summary import SHORT
from transfer.report.tables import total_seconds
from transfer.report.wording import SCORES, format_p, format_points, format_score, format_seconds
from transfer.system.text import printable

# Columns of a terminal that the figures of a row take, and the least for what a run is.
FIGURES, LEAST_NAMES, FRONTIER_FIGURES = 61, 19, 42
_TITLE = "Best fine-tuning, best SVM and best of all (*, on the validation split), on the test split"
_SCORES = [" accuracy", " macro F1", " cold", " warm"]


def heading(runs: Sequence[Run]) -> str:
    """Say how many results there are, and what they have in common."""
    common, _ = common_and_different(runs)
    return f"{len(runs)} result{'s' if len(runs) > 1 else ''}" + (
        f"; all: {'; '.join(common)}" if common else ""
    )


def scores(runs: Sequence[Run], width: int = 80) -> Table:
    """Return a row for each result and shown method; what differs is below the name of the result.

    Parameters
    ----------
    runs : sequence of Run
    width : int
        Columns of the terminal; in 80 the table fits whatever names hold.

    Returns
    -------
    Table
    """
    _, different = common_and_different(runs)
    columns = max(LEAST_NAMES, width - FIGURES)
    rows = []
    for i, run in enumerate(runs):
        facts = [values[i] for values in different.values() if values[i]] + _speed(run)
        words = [*wrap(printable(run.name), columns), *_wrap(facts, columns)]
        rows += _beside(words, [_figures(run, method) for method in run.shown_methods()])
    return Table(f"{_TITLE}; cold and warm: empty and full store", ["result", "method", *_SCORES], rows)


def _wrap(facts: Sequence[str], columns: int) -> list[str]:
    """Return indented lines of facts; several share a line where they fit."""
    lines: list[str] = []
    for fact in map(printable, facts):
        if lines and len(f"{lines[-1]}, {fact}") <= columns:
            lines[-1] += f", {fact}"
        else:
            lines += wrap(fact, columns, " ")
    return lines


def scores_in_full(runs: Sequence[Run]) -> Table:
    """Return a row for each result and shown method, with a column for everything that differs."""
    _, different = common_and_different(runs)
    rows = [
        [
            run.name,
            *_figures(run, method),
            *(_speed(run) or "-"),
            *(values[i] or "-" for values in different.values()),
        ]
        for i, run in enumerate(runs)
        for method in run.shown_methods()
    ]
    columns = ["result", "method", *_SCORES, " speed", *different]
    return Table(f"{_TITLE}, with 95 % intervals; cold and warm: empty and full store", columns, rows)


def _speed(run: Run) -> list[str]:
    speed = run.result.features["images_per_s"]
    return [f"{speed:.1f} images/s"] if speed else []


def _figures(run: Run, method: dict[str, Any]) -> list[str]:
    cold_s, warm_s = total_seconds(run.result, method)
    return [
        method["name"] + (" *" if method["name"] == run.result.comparison["best"] else ""),
        format_score(method["test"], "accuracy"),
        format_score(method["test"], "macro_f1"),
        "-" if cold_s is None else format_seconds(cold_s),
        format_seconds(warm_s),
    ]


def _beside(words: Sequence[str], figures: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return rows of a line of text and of figures each, as many as the longer of the two has."""
    blank = [""] * len(figures[0])
    return [[text or "", *(row or blank)] for text, row in itertools.zip_longest(words, figures)]


def differences(
    found: Sequence[Difference], width: int = 80, pairs: str = "Best on validation minus each other"
) -> Table:
    """Return the differences between results.

    Parameters
    ----------
    found : sequence of Difference
        One at least.
    width : int
        Columns of the terminal.
    pairs : str
        What the pairs are.
    """
    rows = []
    for one in found:
        entries = [one.scores[score] for score in SCORE_NAMES]
        figures = [
            *(format_points(entry["difference"], entry["ci95"], SHORT) for entry in entries),
            " / ".join(format_p(entry["p_holm"]) for entry in entries),
        ]
        pair = printable(f"{label(one.a)} - {label(one.b)}")
        rows += _beside(wrap(pair, max(LEAST_NAMES, width - FIGURES)), [figures])
    units = " or ".join(sorted({one.unit for one in found}))
    holm = f", Holm for {len(found)}" if len(found) > 1 else ""
    return Table(
        f"{pairs}, in points, on the same test images (95 % intervals by {units}; "
        f"p: accuracy / macro F1{holm})",
        ["difference", " accuracy", " macro F1", " p"],
        rows,
    )


def frontier(points: Sequence[Point], width: int = 80) -> Table:
    """Return a row for each point of a frontier.

    Parameters
    ----------
    points : sequence of Point
        One at least.
    width : int
        Columns of the terminal.
    """
    select = points[0].run.result.comparison["select"]
    rows = []
    for one in points:
        figures = [
            format_time(one),
            format_score(one.run.best["test"], select),
            "-" if one.seconds_per_image is None else "yes" if one.on_frontier else "no",
        ]
        words = wrap(printable(label(one.run)), max(LEAST_NAMES, width - FRONTIER_FIGURES))
        rows += _beside(words, [figures])
    return Table(
        "Score against time: the best method on validation, on the test split (95 % intervals), and the time that "
        "features of an image take",
        ["result", " an image", f" {SCORES[select]}", "frontier"],
        rows,
    )
