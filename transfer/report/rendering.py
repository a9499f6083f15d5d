"""Tables, lines and progress for a terminal or a Markdown file, safe for any name in them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from transfer.report.progress import Bar, Lines
from transfer.system.progress import Progress, print_line, silent
from transfer.system.signals import at_end
from transfer.system.text import escape, printable

# Options and commands in sentences: in backquotes, which a terminal does not show.
_COMMAND = re.compile(r"`((?:--|transfer )[^`]+)`")
# Where words of names may be broken: after hyphens, underscores and slashes, but not within `1e-05`.
_PARTS = re.compile(r"(\s+|\S*?\w\w(?<!\de)[-_/](?=\w))")


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
    cells = [
        [printable(cell) for cell in (column[0].strip(), *column[1:])]
        for column in zip(table.columns, *table.rows, strict=True)
    ]
    widths = _widths(cells, console.width, named=table.columns[0][0] != " ")
    for name, column, width in zip(table.columns, cells, widths, strict=True):
        justify: JustifyMethod = "right" if name[0] == " " else "left"
        drawn.add_column(Text(column[0]), justify=justify, overflow="fold", min_width=width, max_width=width)
    for row in list(zip(*cells, strict=True))[1:]:
        drawn.add_row(*map(Text, row))  # Text: brackets in a name are no markup
    # What is too wide even so sticks out: a figure that was cut off would read as another figure.
    needed = sum(widths) + 2 * len(widths)
    console.print(drawn, width=max(needed, console.width), crop=False, no_wrap=True, overflow="ignore")


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line of text without interpreting markup."""
    console.print(Text(printable(line)), style=style)


def mark_commands(line: str) -> list[tuple[bool, str]]:
    """Return the parts of a sentence, each with whether it is a command."""
    return [(i % 2 == 1, part) for i, part in enumerate(_COMMAND.split(line)) if part]


def without_marks(line: str) -> str:
    """Return a sentence without the backquotes around commands."""
    return _COMMAND.sub(r"\1", line)


def markdown_sentence(line: str) -> str:
    """Return a sentence in Markdown, its commands as code, in which nothing is escaped."""
    return "".join(
        f"`{printable(part)}`" if is_command else escape(part) for is_command, part in mark_commands(line)
    )


class _Wrapper(textwrap.TextWrapper):
    wordsep_re = _PARTS


def wrap(line: str, columns: int, indent: str = "") -> list[str]:
    """Break text into lines, at spaces and within names at hyphens, underscores and slashes."""
    return _Wrapper(columns, initial_indent=indent, subsequent_indent=indent).wrap(line)


def _widths(cells: Sequence[Sequence[str]], most: int, *, named: bool) -> list[int]:
    """Return the widths of columns, the widest made narrower until all fit, though never than its longest word.

    Where the first column is of names, a word there of more than half of the width is broken; a figure never is.
    """
    widths = [max(cell_len(cell) for cell in column) for column in cells]
    least = [
        max(cell_len(word) for cell in column for word in re.findall(r"^\s*\S+|\S+|$", cell))
        for column in cells
    ]
    if named:
        least[0] = min(least[0], most // 2)
    for _ in range(sum(widths) + 2 * (len(widths) - 1) - most):
        if wide := [i for i, width in enumerate(widths) if width > least[i]]:
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    lines = [
        "| " + " | ".join(escape(column.strip()) for column in table.columns) + " |",
        "|" + "|".join("---:" if column[0] == " " else "---" for column in table.columns) + "|",
        *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows),
    ]
    return f"**{escape(table.title)}**\n\n" + "\n".join(lines)
