"""Inline drawings of a record: scores with intervals, and how many times as fast ours is."""

from __future__ import annotations

from markupsafe import Markup

from bench.reporting import timings
from bench.reporting.comparison import Compared
from bench.reporting.layout import shorten
from bench.reporting.record import Record
from transfer.report.html.svg import WIDTH, Axis, dot, drawing, horizontal_axis, line, text
from transfer.report.wording import SCORES
from transfer.system.text import printable

ROW = 30
# Pixels and letters of the names at the left.
LEFT, LETTERS = 290, 36
# Colours of the style sheet.
COLOURS = {"macro_f1": "m0", "accuracy": "m1", "CPU": "m0", "GPU": "m1"}


def scores(shown: Record) -> Markup:
    """Draw accuracy and macro F1 of every method with their intervals."""
    methods = shown.run["methods"]
    bottom = 24 + ROW * len(methods)
    x = Axis(0, 1, 90, WIDTH - 20)
    parts = [_legend(list(SCORES.items())), horizontal_axis(x, 24, bottom, lambda v: f"{v:.1f}")]
    for i, method in enumerate(methods):
        parts.append(text(82, 24 + ROW * (i + 0.5) + 4, _name(method["name"], 12), "end"))
        for k, (score, words) in enumerate(SCORES.items()):
            y, (low, high), own = 24 + ROW * (i + 0.35 + 0.3 * k), method[f"{score}_ci95"], COLOURS[score]
            title = f"{printable(method['name'])}: {words} {method[score]:.3f} ({low:.2f}-{high:.2f})"
            parts += [
                line(x(low), y, x(high), y, class_=f"interval {own}"),
                dot(x(method[score]), y, title, class_=own),
            ]
    return drawing(bottom + 24, "Macro F1 and accuracy of each method with 95 % intervals", *parts)


def ratios(compared: dict[str, tuple[Compared, Compared]], gpu: str) -> Markup | None:
    """Draw how many times as fast our best way is as the fastest reference; None where no ratio is known.

    Parameters
    ----------
    compared : dict
        Processor and GPU by operation.
    gpu : str
        The name of the GPU's column.
    """
    rows = {
        operation: found
        for operation, pair in compared.items()
        if (found := {name: one for name, one in zip(("CPU", "GPU"), pair, strict=True) if one.ratio})
    }
    values = [one.ratio for found in rows.values() for one in found.values() if one.ratio]
    if not values:
        return None
    bottom = 24 + ROW * len(rows)
    x = Axis(min(0.5, *values) / 1.2, max(10, *values) * 1.2, LEFT, WIDTH - 110, log=True)
    shown = {name for found in rows.values() for name in found}
    words = [(name, own) for name, own in (("CPU", "CPU"), ("GPU", gpu)) if name in shown]
    parts = [
        _legend(words),
        horizontal_axis(x, 24, bottom, lambda v: f"{v:g}x"),
        line(x(1), 24, x(1), bottom, class_="zero"),
    ]
    for i, (operation, found) in enumerate(rows.items()):
        y = 24 + ROW * (i + 0.5)
        parts.append(text(LEFT - 8, y + 4, _name(operation, LETTERS), "end"))
        for device, one in found.items():
            assert one.ratio
            assert one.reference
            title = f"{printable(operation)}, {device}: {timings.ratio(one.ratio)} {printable(one.reference['way'])}"
            parts.append(dot(x(one.ratio), y, title, class_=COLOURS[device]))
        figures = " / ".join(timings.ratio(one.ratio) for one in found.values() if one.ratio)
        parts.append(text(WIDTH - 4, y + 4, figures, "end"))
    return drawing(bottom + 24, "How many times as fast ours is as the fastest reference", *parts)


def _legend(words: list[tuple[str, str]]) -> Markup:
    """Return a dot and a name for each colour."""
    return Markup("").join(
        dot(LEFT + 160 * i, 10, name, class_=COLOURS[key]) + text(LEFT + 160 * i + 9, 14, _name(name, 40))
        for i, (key, name) in enumerate(words)
    )


def _name(name: str, letters: int) -> str:
    return shorten(printable(name), letters)
