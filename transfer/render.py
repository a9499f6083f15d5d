"""Tables and lines as a terminal or a Markdown file shows them, whatever names they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text


@dataclass(frozen=True)
class Table:
    """A table before it is drawn: columns whose names begin with a space hold numbers, aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def draw(table: Table, console: Console) -> None:
    """Print a table; names in it are never interpreted, and no figure is cut off."""
    say(console, f"\n{table.title}")
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for i, column in enumerate(table.columns):
        words = " ".join([column, *(row[i] for row in table.rows)]).split()
        drawn.add_column(
            Text(printable(column.strip())),
            justify="right" if column[0] == " " else "left",
            min_width=max(map(len, words)),  # narrow terminals wrap between words
        )
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))  # Text: brackets in a name are no markup
    # What is too wide even so sticks out: a figure that was cut off would read as another figure.
    needed = Measurement.get(console, console.options.update(max_width=1000), drawn).minimum
    console.print(drawn, width=max(needed, console.width), crop=False, no_wrap=True, overflow="ignore")


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line of text as it is."""
    console.print(Text("\n".join(printable(part) for part in line.split("\n"))), style=style)


def markdown(table: Table) -> str:
    """A table in Markdown."""
    lines = [
        "| " + " | ".join(escaped(column.strip()) for column in table.columns) + " |",
        "|" + "|".join("---:" if column[0] == " " else "---" for column in table.columns) + "|",
        *("| " + " | ".join(escaped(cell) for cell in row) + " |" for row in table.rows),
    ]
    return f"**{escaped(table.title)}**\n\n" + "\n".join(lines)


def printable(text: str) -> str:
    """Class and file names are whatever a file system holds: no control character of theirs is printed."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def escaped(text: str) -> str:
    """Text in which Markdown and HTML find nothing to act on."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~" else c for c in printable(text))
