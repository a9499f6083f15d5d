"""The drawings of a result's page: each takes a result, and returns nothing where it has no figures for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from transfer.config import BUILT_IN
from transfer.evaluation.results import Result
from transfer.report.comparison_tables import shown_pairs
from transfer.report.html.svg import (
    LEGEND_ROW,
    ROW,
    WIDTH,
    Axis,
    colour,
    dot,
    drawing,
    element,
    horizontal_axis,
    legend,
    line,
    path,
    place_labels,
    shorten,
    span,
    text,
    vertical_axis,
)
from transfer.report.lab import LAB_FIGURES
from transfer.report.tables import seconds_by_phase, total_seconds
from transfer.report.wording import (
    SCORES,
    format_params,
    format_points,
    format_score,
    format_seconds,
)

LABELS = 150  # pixels for names at the left
# The most letters of a pair's name; the width of a letter and the height of a line, larger in narrow windows.
LETTERS, LETTER, LINE = 40, 9, 17
# Parameters that span decades; a method has one of them.
SCALES = ("lr", "C", "alpha")
# Phases that are drawn by themselves; shorter ones are summed up.
LEAST_SHARE = 0.01


def method_class(result: Result, name: str) -> str:
    """Return the class in the style sheet that colours a method."""
    index = next((i for i, method in enumerate(result.methods) if method["name"] == name), 0)
    return colour(index)


def differences(result: Result) -> Markup | None:
    """Draw the differences that the table of pairs shows, with their 95 % intervals, in points."""
    select = result.comparison["select"]
    rows = [
        (shorten(name := f"{pair['a']} - {pair['b']}", LETTERS), name, pair[select])
        for pair in shown_pairs(result)
        if select in pair and pair[select]["ci95"]
    ]
    left = max(LABELS, 10 + LETTER * max((len(name) for name, _, _ in rows), default=0))
    return draw_differences(rows, left, SCORES[select], "pairs of methods")


def draw_differences(
    rows: Sequence[tuple[str, str, dict[str, Any]]], left: float, score: str, between: str
) -> Markup | None:
    """Draw differences, in points: of each its name, that which the pointer tells, and the entry of the result."""
    if not rows:
        return None
    low, high = span([0, *(100 * bound for _, _, entry in rows for bound in entry["ci95"])])
    axis, bottom = Axis(low, high, left, WIDTH - 20), 10 + ROW * len(rows)
    parts = [horizontal_axis(axis, 6, bottom, lambda value: f"{value:+g}" if value else "0")]
    parts.append(line(axis(0), 6, axis(0), bottom, class_="zero"))
    for i, (name, whole_name, entry) in enumerate(rows):
        y, (least, most) = 10 + ROW * (i + 0.5), (100 * bound for bound in entry["ci95"])
        title = f"{whole_name}: {format_points(entry['difference'], entry['ci95'])}"
        parts += [
            text(left - 10, y + 4, name, "end"),
            line(axis(least), y, axis(most), y, class_="interval"),
            dot(axis(100 * entry["difference"]), y, title),
        ]
    parts.append(text(WIDTH - 20, bottom + 34, f"points of {score}, test split", "end"))
    return drawing(bottom + 42, f"Differences of {score} between {between}", *parts)


def score_against_time(result: Result, score: str) -> Markup:
    """Draw a score of every method with its interval against the seconds of its search."""
    fits = [max(method["fit_s"], 1e-4) for method in result.methods]
    bounds = [bound for method in result.methods for bound in method["test"][f"{score}_ci95"]]
    lab = LAB_FIGURES if result.data["name"] == BUILT_IN else {}
    bounds += [known[score] for known in lab.values()]
    longest = max([*fits, *(known["seconds"] for known in lab.values())])
    x = Axis(min(fits) / 2, longest * 4, 50, WIDTH - 20, log=True)
    y = Axis(max(0, min(bounds) - 0.03), min(1, max(bounds) + 0.03), 260, 16)
    parts = [
        horizontal_axis(x, 16, 260, lambda v: f"{v:g} s"),
        vertical_axis(y, 50, WIDTH - 20, lambda v: f"{v:.2f}"),
    ]
    for method, fit_s in zip(result.methods, fits, strict=True):
        low, high = method["test"][f"{score}_ci95"]
        own = method_class(result, method["name"])
        reached = format_score(method["test"], score)
        words = f"{method['name']}: {SCORES[score]} {reached}, fitted in {format_seconds(fit_s)}"
        parts += [
            line(x(fit_s), y(low), x(fit_s), y(high), class_=f"interval {own}"),
            dot(x(fit_s), y(method["test"][score]), words, 6, class_=own),
        ]
    points = [
        (x(fit_s), y(method["test"][score])) for method, fit_s in zip(result.methods, fits, strict=True)
    ]
    names = [method["name"] for method in result.methods]
    placed = place_labels(points, names, letter=LETTER, line=LINE)
    for (left, base, anchor), name in zip(placed, names, strict=True):
        parts.append(text(left, base, name, anchor, class_="name"))
    for kind, known in lab.items():
        left, top = x(known["seconds"]), y(known[score])
        words = f"lab report, {kind}: {SCORES[score]} {known[score]:.2f}, about {format_seconds(known['seconds'])}"
        parts += [dot(left, top, words, 6, class_="hollow"), text(left - 9, top + 4, f"lab, {kind}", "end")]
    parts.append(text(WIDTH - 20, 296, "seconds to fit the whole search", "end"))
    return drawing(302, f"{SCORES[score]} of each method against the time of its search", *parts)


def splits(result: Result, score: str) -> Markup | None:
    """Draw the score of every method on every other split, the dots of a method joined."""
    repeated = result.comparison.get("repeats")
    if not repeated:
        return None
    names = repeated.get("names") or [str(i + 1) for i in range(repeated["n"])]
    values = [value for method in repeated["methods"] for value in method[score]]
    low, high = span(values)
    x, y = Axis(-0.5, repeated["n"] - 0.5, 50, WIDTH - 20), Axis(max(0, low), min(1, high), 240, 16)
    every = -(-len(names) // 10)
    parts = [vertical_axis(y, 50, WIDTH - 20, lambda v: f"{v:.2f}")]
    parts += [text(x(i), 258, names[i][:12], "middle") for i in range(0, len(names), every)]
    for method in repeated["methods"]:
        own = method_class(result, method["name"])
        parts += _dotted_path(
            [
                (x(i), y(value), f"{method['name']}, {names[i]}: {value:.3f}")
                for i, value in enumerate(method[score])
            ],
            own,
        )
    what = "group left out" if repeated["scheme"] == "groups" else "split"
    parts.append(text(WIDTH - 20, 278, what, "end"))
    named = [(method["name"], method_class(result, method["name"])) for method in repeated["methods"]]
    parts += legend(named, 300)
    return drawing(
        300 + LEGEND_ROW * -(-len(named) // 2),
        f"{SCORES[score]} of each method on {repeated['n']} splits",
        *parts,
    )


def ladder(result: Result) -> Markup | None:
    """Draw the score after each change from the lab's fine-tuning to the best method."""
    steps = result.comparison.get("ladder") or []
    if len(steps) < 2:
        return None
    select = result.comparison["select"]
    low, high = span([step[select] for step in steps], 0.15)
    axis, bottom = Axis(max(0, low), min(1, high), 260, WIDTH - 120), 10 + ROW * len(steps)
    parts = [horizontal_axis(axis, 6, bottom, lambda v: f"{v:.2f}")]
    for i, step in enumerate(steps):
        y, change = 10 + ROW * (i + 0.5), step["change"]
        title = f"{step['step']}: {step[select]:.3f}"
        if change:
            title += f", {format_points(change[select]['difference'], change[select]['ci95'])} points"
            parts.append(line(axis(steps[i - 1][select]), y, axis(step[select]), y, class_="interval"))
        parts += [
            text(250, y + 4, step["step"], "end"),
            dot(axis(step[select]), y, title),
            text(WIDTH - 10, y + 4, format_seconds(step["fit_s"]), "end"),
        ]
    parts.append(text(WIDTH - 10, bottom + 34, f"{SCORES[select]}, test split; seconds to fit", "end"))
    return drawing(bottom + 42, f"{SCORES[select]} after each change", *parts)


def sweeps(result: Result) -> list[tuple[str, Markup]]:
    """Draw the validation score of every method against the one of its parameters that spans decades."""
    return [
        (method["name"], drawn) for method in result.methods if (drawn := _sweep(method, result)) is not None
    ]


def _sweep(method: dict[str, Any], result: Result) -> Markup | None:
    select = result.comparison["select"]
    values: dict[str, set[float]] = {}
    for row in method["sweep"]:
        for name, value in row["params"].items():
            if _is_positive(value):
                values.setdefault(name, set()).add(value)
    name = max(values, key=lambda key: (key in SCALES, len(values[key])), default="")
    if len(values.get(name, ())) < 2:
        return None
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in method["sweep"]:
        rest = {
            key: value
            for key, value in row["params"].items()
            if key not in (name, "cosine_steps", "steps", "epoch")
        }
        if _is_positive(row["params"].get(name)):
            setting = format_params(rest) or "-"
            lines.setdefault(setting, []).append((row["params"][name], row["valid"][select]))
    x = Axis(min(values[name]), max(values[name]), 60, WIDTH - 40, log=True)
    low, high = span([score for points in lines.values() for _, score in points])
    y = Axis(max(0, low), min(1, high), 190, 12)
    parts = [
        horizontal_axis(x, 12, 190, lambda v: f"{v:g}"),
        vertical_axis(y, 60, WIDTH - 40, lambda v: f"{v:.2f}"),
    ]
    for i, (setting, points) in enumerate(sorted(lines.items())):
        parts += _dotted_path(
            [
                (x(value), y(score), f"{setting}, {name} {value:g}: {score:.3f}")
                for value, score in sorted(points)
            ],
            colour(i),
        )
    named = [(setting, colour(i)) for i, setting in enumerate(sorted(lines))] if len(lines) > 1 else []
    parts += legend(named, 226)
    parts.append(text(WIDTH - 40, 222, name, "end"))
    label = f"{SCORES[select]} of {method['name']} on validation against {name}"
    return drawing(236 + LEGEND_ROW * -(-len(named) // 2), label, *parts)


def _dotted_path(points: Sequence[tuple[float, float, str]], own: str) -> Iterator[Markup]:
    """Draw points in pixels, with titles, and the line that joins them."""
    yield path([point[:2] for point in points], own)
    for x, y, title in points:
        yield dot(x, y, title, 4, class_=own)


def _is_positive(value: object) -> bool:
    return isinstance(value, float | int) and 1e-300 < value < 1e300


def time(result: Result) -> Markup:
    """Draw the seconds of every phase as a bar; short phases are summed up."""
    total = result.seconds["total"] or 1.0
    spent = seconds_by_phase(result)
    shown = {name: seconds for name, seconds in spent.items() if seconds >= LEAST_SHARE * total}
    rest = total - sum(shown.values())
    rows = sorted(shown.items(), key=lambda row: -row[1])
    rows += [("everything else", rest)] if rest > 0 else []
    return _bars(
        [(name, seconds, f"{format_seconds(seconds)}, {seconds / total:.0%}") for name, seconds in rows],
        "Seconds of each phase",
    )


def cold_and_warm(result: Result) -> Markup | None:
    """Draw the seconds from images to predictions of the best method, with an empty and with a full store."""
    cold_s, warm_s = total_seconds(result, result.method(result.comparison["best"]))
    if not cold_s:
        return None
    rows = [("cold", cold_s), ("warm", warm_s)]
    label = f"Seconds from images to predictions of {result.comparison['best']}"
    return _bars([(name, seconds, format_seconds(seconds)) for name, seconds in rows], label)


def engines(result: Result) -> Markup | None:
    """Draw the rate of every engine that was tried as a bar."""
    taken = (result.engine["name"], result.engine["precision"])
    rows = []
    for trial in result.engine.get("trials") or []:
        own, speed = (trial["engine"], trial["precision"]), trial["images_per_s"]
        rows.append((" ".join(own), speed, f"{speed:.1f}/s" + (", taken" if own == taken else "")))
    return _bars(rows, "Images a second with each engine that was tried") if rows else None


def _bars(rows: Sequence[tuple[str, float, str]], label: str) -> Markup:
    """Draw a bar for each name and value, with words at its end."""
    axis = Axis(0, max(value for _, value, _ in rows) or 1.0, LABELS, WIDTH - 150)
    parts = []
    for i, (name, value, words) in enumerate(rows):
        y = 6 + ROW * i
        parts += [
            text(LABELS - 10, y + 16, name, "end"),
            element("rect", x=LABELS, y=y + 3, width=axis(value) - LABELS, height=ROW - 8, class_="bar"),
            text(axis(value) + 8, y + 16, words),
        ]
    return drawing(12 + ROW * len(rows), label, *parts)
