"""Tables, lines and progress for a terminal or a Markdown file, safe for any name in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from transfer.report.progress import Bar, Lines
from transfer.system.progress import Progress, print_line, silent
from transfer.system.signals import at_end
from transfer.system.text import escaped, printable


@dataclass(frozen=True)
class Table:
    """A table before rendering: columns with a name that begins with a space hold numbers, aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would exit with 1


def console() -> Console:
    """Return a console for standard output that tolerates a closed pipe."""
    return _Output()


@contextmanager
def progress(quiet: bool, expected: Mapping[str, float] | None = None) -> Iterator[Progress]:
    """Show the phases of a command on standard error: a bar in a terminal, else plain lines now and then.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    expected : mapping of str to float, optional
        Seconds that the phases of an earlier run took, in its order.

    Yields
    ------
    Progress
        To be called with what is done.
    """
    terminal = Console(stderr=True)
    if quiet:
        yield silent
    elif not terminal.is_terminal or terminal.is_dumb_terminal:
        yield Lines(print_line, expected=expected)
    else:
        bar = Bar(terminal, expected)
        with bar.bars, at_end(bar.bars.stop):
            yield bar


def draw(table: Table, console: Console) -> None:
    """Print a table; names in it are never interpreted as markup, and no figure is cut off."""
    console.print()
    say(console, table.title)
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
    """Print a line of text without interpreting markup."""
    console.print(Text(printable(line)), style=style)


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    lines = [
        "| " + " | ".join(escaped(column.strip()) for column in table.columns) + " |",
        "|" + "|".join("---:" if column[0] == " " else "---" for column in table.columns) + "|",
        *("| " + " | ".join(escaped(cell) for cell in row) + " |" for row in table.rows),
    ]
    return f"**{escaped(table.title)}**\n\n" + "\n".join(lines)
