"""Reports of a result: in a terminal, as Markdown, or several results side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from transfer.evaluation.results import Result, are_given
from transfer.report import rendering, summary
from transfer.report.answers import read_answers
from transfer.report.notes import describe_suspects, notes
from transfer.report.rendering import draw, say
from transfer.report.tables import tables
from transfer.report.verdict import headline, verdict
from transfer.report.wording import describe_options, describe_weights
from transfer.system.text import escape

if TYPE_CHECKING:
    from transfer.report.runs import Run

__all__ = [
    "heading",
    "markdown",
    "notes",
    "page",
    "page_of_several",
    "show",
    "show_side_by_side",
    "tables",
    "verdict",
]

Thumbnail = Callable[[str], bytes | None]
"""Given the file of an image, the bytes of a small JPEG of it, or None."""
# Settings of a method that a terminal shows; report.md and result.json have all.
SETTINGS_SHOWN = 3
# Notes that the summary shows; those on the data come first.
NOTES_SHOWN = 2


def show(result: Result, console: Console, *, verbose: bool = False) -> None:
    """Print a summary on half a screen, or with `verbose` all tables and notes.

    Parameters
    ----------
    result : Result
    console : rich.console.Console
    verbose : bool
    """
    say(console, heading(result))
    found, whole = _all_notes(result) if verbose else notes(result), verdict(result)
    if verbose:
        for table in tables(result, most_settings=SETTINGS_SHOWN):
            draw(table, console)
    else:
        if (first := headline(result)) != whole:
            say(console, first, style="bold")
        draw(summary.methods(result), console)
        say(console, summary.time(result))
    for note in found if verbose else found[:NOTES_SHOWN]:
        say(console, f"Note: {rendering.without_marks(note)}")
    if not verbose and len(found) > NOTES_SHOWN:
        more = len(found) - NOTES_SHOWN
        say(console, f"{more} more note{'s' if more > 1 else ''}, and all tables: --verbose")
    say(console, whole, style="bold")


def _all_notes(result: Result) -> list[str]:
    suspects = describe_suspects(result)
    return [*notes(result), *([f"labels to look at: {suspects}"] if suspects else [])]


def show_side_by_side(runs: Sequence[Run], console: Console, remarks: Sequence[str] = ()) -> None:
    """Print several results in one table, without averages over them, their differences and their frontier.

    Parameters
    ----------
    runs : sequence of Run
    console : rich.console.Console
    remarks : sequence of str
        On what was not compared.
    """
    from transfer.report import (  # statistics take time to import
        differences,
        frontier,
        same_images,
        side_by_side,
    )

    found, points = differences.find_differences(runs), frontier.find_frontier(runs)
    say(console, side_by_side.heading(runs))
    draw(side_by_side.scores(runs, console.width), console)
    if found:
        draw(side_by_side.differences(found, console.width), console)
    if points:
        draw(side_by_side.frontier(points, console.width), console)
    for sentence in frontier.sentences(points):
        say(console, sentence)
    for note in [*same_images.notes(runs), *remarks]:
        say(console, f"Note: {note}")
    for sentence in differences.conclude(runs, found):
        say(console, sentence, style="bold")


def markdown(result: Result) -> str:
    """Return the whole report as Markdown.

    Parameters
    ----------
    result : Result

    Returns
    -------
    str
    """
    parts = [
        f"# {escape(result.data['name'])}",
        escape(heading(result)),
        f"**{escape(verdict(result))}**",
    ]
    parts += [rendering.markdown(table) for table in tables(result)]
    parts += [f"Note: {rendering.markdown_sentence(note)}" for note in _all_notes(result)]
    return "\n\n".join(parts) + "\n"


def page(result: Result, predictions: Path | None, thumbnail: Thumbnail = lambda file: None) -> str:
    """Return the whole report as one page of HTML, with pictures where there are predictions.

    Parameters
    ----------
    result : Result
    predictions : Path, optional
        The `predictions.csv` of the same run.
    thumbnail : callable
        Given the file of an image as the predictions name it, the bytes of a small JPEG, or None.

    Raises
    ------
    UserError
        If the predictions can't be read, or are of another result.
    """
    from transfer.report import html  # Jinja takes time to import, and a terminal needs none

    answers = read_answers(predictions, result) if predictions else None
    return html.render(result, heading(result), answers, thumbnail)


def page_of_several(runs: Sequence[Run], remarks: Sequence[str] = ()) -> str:
    """Return several results as one page of HTML.

    Parameters
    ----------
    runs : sequence of Run
    remarks : sequence of str
        On what was not compared.
    """
    from transfer.report.html import several

    return several.render(runs, remarks)


def heading(result: Result) -> str:
    """Describe in one line what was run on which images."""
    counts = ", ".join(f"{part['images']} {split}" for split, part in result.data["splits"].items())
    begin = f"{result.data['name']}: {len(result.data['classes'])} classes, {counts}"
    options = describe_options(result.backbone, result.engine, result.config)
    if are_given(result):
        return (
            f"{begin} rows of {result.backbone['feature_dim']:,} features that were given{options}; "
            f"{result.environment['processor']}, {result.engine['threads']} threads"
        )
    height, width = result.backbone["input_size"]
    return (
        f"{begin} images at {height}x{width}; "
        f"{result.backbone['name']} ({describe_weights(result.backbone)}){options}, {result.engine['name']} "
        f"{result.engine['precision']} on {result.engine['device']}, {result.environment['processor']}, "
        f"{result.engine['threads']} threads"
    )
