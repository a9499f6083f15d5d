"""The drawings of the page of several results; a result has one colour in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from transfer.report.differences import Difference, label
from transfer.report.frontier import Point, format_time
from transfer.report.html.charts import draw_differences
from transfer.report.html.svg import (
    ROW,
    WIDTH,
    Axis,
    colour,
    dot,
    drawing,
    horizontal_axis,
    line,
    path,
    place_labels,
    shorten,
    span,
    text,
    vertical_axis,
)
from transfer.report.runs import Run
from transfer.report.tables import total_seconds
from transfer.report.wording import SCORES, format_score, format_seconds
from transfer.system.text import printable

LABELS = 310  # pixels for names at the left
LETTERS = 32  # of a name that are drawn there, or of two and what is between them
# Pixels of a line of text, and of a letter on average.
LINE, LETTER = 14, 7
# What a time axis can show.
LEAST, MOST = 1e-4, 1e12


def score_against_time(runs: Sequence[Run], score: str) -> Markup | None:
    """Draw a score of the best method of every run against the seconds with an empty store, where two have them."""
    found = []
    for i, run in enumerate(runs):
        cold_s, _ = total_seconds(run.result, run.best)
        if cold_s is not None:
            words = f"{format_score(run.best['test'], score)}, {format_seconds(cold_s)} with an empty store"
            found.append((i, cold_s, words))
    return _against(runs, found, score, "seconds with an empty store", "s")


def score_against_speed(runs: Sequence[Run], score: str) -> Markup | None:
    """Draw a score of the best method of every run against its images per second, where two computed features."""
    found = []
    for i, run in enumerate(runs):
        if speed := run.result.features["images_per_s"]:
            words = f"{format_score(run.best['test'], score)}, {speed:.1f} images/s"
            found.append((i, speed, words))
    return _against(runs, found, score, "images per second", "images/s")


def frontier(runs: Sequence[Run], points: Sequence[Point], score: str) -> Markup | None:
    """Draw a score of the best method of every run against the time of an image, and a line of those on the frontier.

    Parameters
    ----------
    runs : sequence of Run
    points : sequence of Point
        The fastest first.
    score : {"accuracy", "macro_f1"}
    """
    found, joined = [], []
    numbers = {id(run): i for i, run in enumerate(runs)}
    for one in points:
        if one.seconds_per_image is not None:
            i = numbers[id(one.run)]
            words = f"{format_score(one.run.best['test'], score)}, {format_time(one)} an image"
            found.append((i, 1000 * one.seconds_per_image, words))
            joined += [i] if one.on_frontier else []
    return _against(runs, found, score, "milliseconds an image", "ms", joined)


def _against(
    runs: Sequence[Run],
    found: Sequence[tuple[int, float, str]],
    score: str,
    axis: str,
    unit: str,
    joined: Sequence[int] = (),
) -> Markup | None:
    """Draw points with intervals on a logarithmic axis: number of the run, value, and what the pointer tells.

    Those of the runs in `joined` are joined by steps: the best score to be had in a time.
    """
    if len(found) < 2:
        return None
    values = [min(max(value, LEAST), MOST) for _, value, _ in found]
    tests = [runs[i].best["test"] for i, _, _ in found]
    bounds = [bound for test in tests for bound in test[f"{score}_ci95"]]
    x = Axis(min(values) / 2, max(values) * 3, 50, WIDTH - 20, log=True)
    y = Axis(max(0, min(bounds) - 0.03), min(1, max(bounds) + 0.03), 260, 16)
    parts = [
        horizontal_axis(x, 16, 260, lambda v: f"{v:g} {unit}"),
        vertical_axis(y, 50, WIDTH - 20, lambda v: f"{v:.2f}"),
    ]
    labels = [shorten(printable(label(runs[i])), LETTERS) for i, _, _ in found]
    points = [(x(value), y(test[score])) for value, test in zip(values, tests, strict=True)]
    corners = [point for (i, _, _), point in zip(found, points, strict=True) if i in joined]
    steps = [(right, own[1]) for own, (right, _) in pairwise(corners)]
    if steps:
        parts.append(path(sorted([*corners, *steps], key=lambda point: (point[0], -point[1])), "dotted"))
    places = place_labels(points, labels, letter=LETTER, line=LINE)
    for (i, _, words), point, test, name, place in zip(found, points, tests, labels, places, strict=True):
        own, (low, high) = colour(i), test[f"{score}_ci95"]
        title = f"{printable(label(runs[i]))}: {SCORES[score]} {words}"
        parts += [
            line(point[0], y(low), point[0], y(high), class_=f"interval {own}"),
            dot(*point, title, 6, class_=own),
            text(*place[:2], name, place[2]),
        ]
    parts.append(text(WIDTH - 20, 296, axis, "end"))
    return drawing(302, f"{SCORES[score]} of the best method of each result against {axis}", *parts)


def methods(runs: Sequence[Run], score: str) -> Markup:
    """Draw a score of every method of every run with its interval, a method after the other."""
    names = list(dict.fromkeys(method["name"] for run in runs for method in run.result.methods))
    rows: list[tuple[int, dict[str, Any]] | str] = []
    for name in names:
        rows.append(name)
        for i, run in enumerate(runs):
            rows += [(i, method) for method in run.result.methods if method["name"] == name]
    tests = [row[1]["test"] for row in rows if not isinstance(row, str)]
    low, high = span([bound for test in tests for bound in test[f"{score}_ci95"]])
    axis, bottom = Axis(max(0, low), min(1, high), LABELS, WIDTH - 20), 10 + ROW * len(rows)
    parts = [horizontal_axis(axis, 6, bottom, lambda v: f"{v:.2f}")]
    for place, row in enumerate(rows):
        y = 10 + ROW * (place + 0.5)
        if isinstance(row, str):
            parts.append(text(10, y + 4, row, font_weight="bold"))
            continue
        run, test, own = runs[row[0]], row[1]["test"], colour(row[0])
        least, most = test[f"{score}_ci95"]
        title = f"{printable(run.name)}, {row[1]['name']}: {SCORES[score]} {format_score(test, score)}"
        parts += [
            text(LABELS - 10, y + 4, shorten(printable(run.name), LETTERS), "end"),
            line(axis(least), y, axis(most), y, class_=f"interval {own}"),
            dot(axis(test[score]), y, title, class_=own),
        ]
    parts.append(text(WIDTH - 20, bottom + 34, f"{SCORES[score]}, test split", "end"))
    return drawing(bottom + 42, f"{SCORES[score]} of each method of each result", *parts)


def differences(found: Sequence[Difference], score: str) -> Markup | None:
    """Draw the differences of a score between runs, in points."""
    rows = [
        (
            " - ".join(shorten(printable(run.name), LETTERS // 2 - 2) for run in (one.a, one.b)),
            printable(f"{label(one.a)} - {label(one.b)}"),
            one.scores[score],
        )
        for one in found
    ]
    return draw_differences(rows, LABELS, SCORES[score], "results")
