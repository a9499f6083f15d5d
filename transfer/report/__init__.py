"""Reports of a result: in a terminal, as Markdown, or several results side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from transfer.evaluation.results import Result
from transfer.report import rendering, summary
from transfer.report.notes import LAB, describe_suspects, notes
from transfer.report.rendering import draw, say
from transfer.report.tables import side_by_side, tables
from transfer.report.verdict import headline, verdict
from transfer.system.text import escaped

__all__ = [
    "LAB",
    "heading",
    "markdown",
    "notes",
    "page",
    "show",
    "show_side_by_side",
    "side_by_side",
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
    found, whole = notes(result), verdict(result)
    if verbose:
        for table in tables(result, most_settings=SETTINGS_SHOWN):
            draw(table, console)
    else:
        if (first := headline(result)) != whole:
            say(console, first, style="bold")
        draw(summary.methods(result), console)
        say(console, summary.time(result))
    if verbose and (suspects := describe_suspects(result)):
        found.append(f"labels to look at: {suspects}")
    for note in found if verbose else found[:NOTES_SHOWN]:
        say(console, f"Note: {note}")
    if not verbose and len(found) > NOTES_SHOWN:
        say(console, f"{len(found) - NOTES_SHOWN} more notes, and all tables: --verbose")
    say(console, whole, style="bold")


def show_side_by_side(results: Sequence[Result], console: Console) -> None:
    """Print several results in one table, without averages over them.

    Parameters
    ----------
    results : sequence of Result
    console : rich.console.Console
    """
    draw(side_by_side(results), console)
    if note := compare_fingerprints(results):
        say(console, f"Note: {note}")


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
        f"# {escaped(result.data['name'])}",
        escaped(heading(result)),
        f"**{escaped(verdict(result))}**",
    ]
    parts += [rendering.markdown(table) for table in tables(result)]
    parts += [f"Note: {escaped(note)}" for note in notes(result)]
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

    answers = html.read_answers(predictions, result) if predictions else None
    return html.render(result, heading(result), answers, thumbnail)


def heading(result: Result) -> str:
    """Describe in one line what was run on which images."""
    counts = ", ".join(f"{part['images']} {split}" for split, part in result.data["splits"].items())
    height, width = result.backbone["input_size"]
    return (
        f"{result.data['name']}: {len(result.data['classes'])} classes, {counts} images at {height}x{width}; "
        f"{result.backbone['name']} ({result.backbone['weights']} weights), {result.engine['name']} "
        f"{result.engine['precision']} on {result.engine['device']}, {result.environment['processor']}, "
        f"{result.engine['threads']} threads"
    )


def compare_fingerprints(results: Sequence[Result]) -> str | None:
    """Name the results that were not made from the same images, labels and splits as the others.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    str or None
        One line; None if all were made from the same.
    """
    prints = [result.data.get("fingerprint") for result in results]
    if None in prints:
        unknown = [str(number) for number, one in enumerate(prints, 1) if one is None]
        return f"results {', '.join(unknown)} do not say which images they were made from; scores may not compare"
    if len(set(prints)) == 1:
        return None
    first = [prints.index(one) + 1 for one in prints]
    other = [str(number) for number, one in enumerate(first, 1) if one != first[0]]
    return (
        f"results {', '.join(other)} were made from other images, labels or splits than result 1: "
        "their scores do not compare"
    )
