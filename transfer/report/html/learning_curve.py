"""A learning curve as one self-contained page of HTML: drawings, and the same figures as tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from transfer.report.curve import Curve, format_draws, heading, notes, ordered_scores, sentences, table
from transfer.report.html.svg import (
    COLOURS,
    LEGEND_ROW,
    WIDTH,
    Axis,
    colour,
    dot,
    drawing,
    element,
    join,
    legend,
    line,
    path,
    span,
    text,
    vertical_axis,
)
from transfer.report.html.templates import environment
from transfer.report.wording import SCORES, format_points

LEFT, RIGHT, TOP, BOTTOM = 50, WIDTH - 45, 16, 280
# Pixels that a label below the axis needs.
LABEL = 44
# Points of the line that is extrapolated.
STEPS = 12


def render(curve: Curve) -> str:
    """Write the page of a learning curve.

    Parameters
    ----------
    curve : dict
        As `curve.schema.json` describes it.

    Returns
    -------
    str
        HTML that refers to nothing outside itself and runs no script.
    """
    select = curve["config"]["select"]
    page: str = (
        environment()
        .get_template("learning_curve.html")
        .render(
            curve=curve,
            heading=heading(curve),
            sentences=sentences(curve, select),
            parts=[
                {
                    "name": SCORES[score],
                    "drawing": chart(curve, score),
                    "table": table(curve, score),
                    "sentences": sentences(curve, score) if score != select else [],
                }
                for score in ordered_scores(curve)
            ],
            notes=notes(curve),
        )
    )
    return page


def chart(curve: Curve, score: str) -> Markup:
    """Draw a score of every method against the training images, with the range of the draws and what is extrapolated.

    Parameters
    ----------
    curve : dict
    score : {"accuracy", "macro_f1"}

    Returns
    -------
    Markup
    """
    images = [point["images"] for point in curve["points"]]
    values = [value for method in curve["methods"] for point in method["points"] for value in point[score]]
    found = [(method["points"][-1][score][0], method["extrapolation"][score]) for method in curve["methods"]]
    reached = [measured + gain for measured, one in found if not one["reason"] for gain in one["range"]]
    low, high = span([*values, *reached])
    x = Axis(images[0], (2 if reached else 1) * images[-1], LEFT + 8, RIGHT, log=True)
    y = Axis(max(0, low), min(1, high), BOTTOM, TOP)
    parts = [vertical_axis(y, LEFT, RIGHT, lambda v: f"{v:.2f}"), *_sizes(curve, x, extended=bool(reached))]
    for i, method in enumerate(curve["methods"]):
        parts += _method(method, score, images, x, y, i)
    parts += legend([(method["name"], colour(i)) for i, method in enumerate(curve["methods"])], BOTTOM + 66)
    parts.append(text(RIGHT, BOTTOM + 46, "training images, and the most of one class", "end"))
    label = f"{SCORES[score]} on the test split against the number of training images"
    return drawing(BOTTOM + 60 + LEGEND_ROW * -(-len(curve["methods"]) // 2), label, *parts)


def _sizes(curve: Curve, x: Axis, *, extended: bool) -> Iterator[Markup]:
    """Draw a line for each size with its number of images and, below, the most of one class; close ones unnamed."""
    points = curve["points"]
    named = [
        (point["images"], "all" if point["per_class"] is None else f"{point['per_class']:,}")
        for point in points
    ]
    if extended:
        named.append((2 * points[-1]["images"], "twice"))
    right = float("inf")
    for images, words in reversed(named):  # the largest sizes have their labels first
        yield line(x(images), TOP, x(images), BOTTOM, class_="grid")
        if right - x(images) >= LABEL:
            yield text(x(images), BOTTOM + 16, f"{images:,}", "middle")
            yield text(x(images), BOTTOM + 30, words, "middle")
            right = x(images)


def _method(
    method: dict[str, Any], score: str, images: list[int], x: Axis, y: Axis, index: int
) -> Iterator[Markup]:
    """Draw the range of the draws, the line of the means, their dots, and what is extrapolated."""
    own, draws = colour(index), [point[score] for point in method["points"]]
    drawn = list(zip(images, draws, strict=True))[:-1]  # one fit to all images has no range
    edge = [(x(n), y(max(scores))) for n, scores in drawn]
    edge += [(x(n), y(min(scores))) for n, scores in reversed(drawn)]
    yield element("polygon", points=join(edge), class_=f"band {own}")
    means = [(n, statistics.fmean(scores)) for n, scores in zip(images, draws, strict=True)]
    yield path([(x(n), y(mean)) for n, mean in means], own)
    for (n, mean), scores in zip(means, draws, strict=True):
        title = f"{method['name']}, {n:,} images: {format_draws(scores)}"
        whole = " whole" if n == images[-1] else ""
        yield dot(x(n), y(mean), title, 4, class_=f"{own}{whole}")
    found = method["extrapolation"][score]
    if found["reason"]:
        return
    last, end = images[-1], found["images"]
    steps = [last * (end / last) ** (k / STEPS) for k in range(STEPS + 1)]
    yield path([(x(n), y(_fitted(found, n))) for n in steps], f"dotted {own}")
    low, high = (y(draws[-1][0] + gain) for gain in found["range"])
    beside = x(end) + 5 * (index % COLOURS)  # ranges of several methods side by side
    yield line(beside, low, beside, high, class_=f"interval dotted {own}")
    title = f"{method['name']}, extrapolated to {end:,} images: {format_points(found['gain'], found['range'])} points"
    yield dot(beside, y(_fitted(found, end)), title, 4, class_=f"{own} whole")


def _fitted(found: dict[str, Any], images: float) -> float:
    """Return the fitted score at a number of images."""
    return float(found["a"] - found["b"] * images ** -found["c"])
