"""Parts of the page of a result, each by itself, for a notebook."""

from __future__ import annotations

from markupsafe import Markup

from transfer.evaluation.results import Result
from transfer.report import summary
from transfer.report.html import charts
from transfer.report.html.templates import charts_style, environment
from transfer.report.verdict import headline
from transfer.system.text import printable


def table(result: Result) -> str:
    """Return what the comparison says in a sentence, and the methods with their scores and times, as HTML."""
    drawn = environment().get_template("macros.html").module.table(summary.methods(result))  # type: ignore[attr-defined]
    return Markup("<p><strong>{}</strong></p>{}").format(printable(headline(result)), drawn)


def score_against_time(result: Result, score: str) -> str:
    """Return the page's drawing of a score against the time of the search as an SVG that can stand alone."""
    opening, inside = charts.score_against_time(result, score).split(">", 1)
    back = '<rect width="100%" height="100%" style="fill: var(--back)"/>'
    return f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{charts_style()}</style>{back}{inside}'
