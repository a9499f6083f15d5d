"""Tables, lines and progress for a terminal or a Markdown file, safe for any name in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

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


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "")


def console() -> Console:
    """Return a console for standard output that tolerates a closed pipe."""
    return _Output()


@contextmanager
def progress(quiet: bool, *, speed: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar for each phase on standard error if that is a terminal.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    speed : bool
        Show images per second.

    Yields
    ------
    callable
        To be called with the phase, what is done and the total.
    """
    terminal = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *([_Speed()] if speed else []),
        TimeRemainingColumn(),
    )
    hidden = quiet or not terminal.is_terminal
    bars = Progress(*columns, console=terminal, transient=True, disable=hidden, redirect_stdout=False)
    with bars, at_end(bars.stop):
        tasks: dict[str, TaskID] = {}

        def on_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done)

        yield on_progress


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
