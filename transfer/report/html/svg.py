"""Elements and axes of inline SVG drawings, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

# Units of a drawing, of which a named row and a line of a legend take some.
WIDTH, ROW, LEGEND_ROW = 720, 26, 20
# Colours of the style sheet; further ones begin again.
COLOURS = 8
Anchor = Literal["start", "end"]


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; text and attribute values are escaped, and `_` in names of attributes is `-` (`class_`)."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"' for key, value in attributes.items()
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{words}>{inside}</{name}>")


def drawing(height: float, label: str, *children: object) -> Markup:
    """Return an SVG of the page's width in units of a pixel, which screen readers call `label`."""
    box = f"0 0 {WIDTH} {height:.0f}"
    return element("svg", *children, viewBox=box, role="img", aria_label=label, class_="chart")


def text(x: float, y: float, words: str, anchor: str = "start", **attributes: object) -> Markup:
    """Return a line of text whose baseline is at `y`."""
    return element("text", words, x=x, y=y, text_anchor=anchor, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def dot(x: float, y: float, title: str, radius: float = 5, **attributes: object) -> Markup:
    """Return a circle that tells `title` where the pointer rests on it."""
    return element("circle", element("title", title), cx=x, cy=y, r=radius, **attributes)


def path(points: Iterable[tuple[float, float]], own: str) -> Markup:
    """Return the line that joins points in pixels; `own` is what the style sheet calls it beside `path`."""
    return element("polyline", points=join(points), class_=f"path {own}")


def join(points: Iterable[tuple[float, float]]) -> str:
    """Format points, in pixels, as the coordinates of an SVG element."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def shorten(name: str, letters: int) -> str:
    """Return the beginning and the end of a name of more letters."""
    if len(name) <= letters:
        return name
    return f"{name[: letters // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-(letters // 2) :]}"


def colour(index: int) -> str:
    """Return the class in the style sheet that colours the method or result of a number."""
    return f"m{index % COLOURS}"


def legend(entries: Sequence[tuple[str, str]], top: float) -> Iterator[Markup]:
    """Name the classes of the style sheet that colour lines, two in a row."""
    for i, (name, own) in enumerate(entries):
        left, y = 60 + 320 * (i % 2), top + LEGEND_ROW * (i // 2)
        yield dot(left, y, name, 4, class_=own) + text(left + 9, y + 4, name[:30])


def place_labels(
    points: Sequence[tuple[float, float]], labels: Sequence[str], *, letter: float, line: float
) -> list[tuple[float, float, Anchor]]:
    """Place labels beside points, or below labels that are there already.

    Parameters
    ----------
    points : sequence of (x, y)
    labels : sequence of str
    letter, line : float
        Width of a letter and height of a line.

    Returns
    -------
    list of (x, baseline, anchor)
        Where each label begins (`start`) or ends (`end`).
    """
    placed: list[tuple[float, float, float]] = []
    found: dict[int, tuple[float, float, Anchor]] = {}
    for i in sorted(range(len(points)), key=lambda i: points[i][1]):
        x, height = points[i]
        width = letter * len(labels[i])
        fits = x + 9 + width < WIDTH
        left = x + 9 if fits else x - 9 - width
        while any(
            left < right and start < left + width and abs(height - other) < line
            for start, right, other in placed
        ):
            height += 1
        placed.append((left, left + width, height))
        found[i] = (x + 9, height + 4, "start") if fits else (x - 9, height + 4, "end")
    return [found[i] for i in range(len(points))]


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels, linear or logarithmic.

    Parameters
    ----------
    low, high : float
        Values at the ends.
    start, end : float
        Pixels at the ends.
    log : bool
        Whether equal ratios of values are equal distances; `low` and `high` are positive then.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; those beyond the ends are drawn at the ends."""
        low, high, own = (
            math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low))
        )
        share = min(max((own - low) / (high - low), 0), 1) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return some 4 to 8 round values between the ends."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = max(1, math.ceil(len(decades) / 8))
            return [10.0**k for k in decades[::every] if self.low <= 10.0**k <= self.high]
        rough = (self.high - self.low) / 5
        if rough <= 0:
            return [self.low]
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def horizontal_axis(axis: Axis, top: float, bottom: float, write: Callable[[float], str]) -> Markup:
    """Return vertical grid lines with their values below."""
    return Markup("").join(
        line(axis(tick), top, axis(tick), bottom, class_="grid")
        + text(axis(tick), bottom + 16, write(tick), "middle")
        for tick in axis.ticks()
    )


def vertical_axis(axis: Axis, left: float, right: float, write: Callable[[float], str]) -> Markup:
    """Return horizontal grid lines with their values at the left."""
    return Markup("").join(
        line(left, axis(tick), right, axis(tick), class_="grid")
        + text(left - 6, axis(tick) + 4, write(tick), "end")
        for tick in axis.ticks()
    )


def span(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """Return the least and the largest value with a margin of a share of their distance on both sides."""
    low, high = min(values), max(values)
    wide = (high - low) * margin or 0.05 * (abs(high) or 1)
    return low - wide, high + wide


def _short(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value
