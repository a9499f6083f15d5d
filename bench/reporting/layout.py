"""Lines of fixed width for a terminal: aligned columns, wrapped sentences and names cut at a word."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Sequence

WIDTH = 80
CUT = ".."
# Where a name of several parts may end: `extract, files to store` as `extract, files`.
_PART = re.compile(r", | to | of ")


def align(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return rows as lines with one space between columns; columns with a number in `right` are aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def wrap(sentence: str) -> list[str]:
    """Return a sentence in lines of at most `WIDTH`; a longer word, such as a path, gets a line of its own."""
    return textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)


def shorten(text: str, width: int) -> str:
    """Return text of at most `width`, cut after a word where one ends in the second half, and marked as cut."""
    if len(text) <= width:
        return text
    room = max(width - len(CUT), 1)
    word = text[: room + 1].rfind(" ")
    return text[: word if word > room / 2 else room].rstrip(" ,") + CUT


def short_names(names: Sequence[str], width: int) -> dict[str, str]:
    """Return a beginning of each name that no other name has: the longest parts or else words that fit.

    Parameters
    ----------
    names : sequence of str
        Distinct names of parts separated by `, `, ` to ` or ` of `.
    width : int
        The length that is aimed at.

    Returns
    -------
    dict
        By name; the shortest that tells it apart from others where none of these fits.
    """
    return {name: _short_name(name, [other for other in names if other != name], width) for name in names}


def _short_name(name: str, others: Sequence[str], width: int) -> str:
    parts = [name, *(name[: match.start()] for match in reversed(list(_PART.finditer(name))))]
    words = [name[:end].rstrip(",") for end in range(len(name) - 1, 0, -1) if name[end] == " "]
    alone = [
        beginning
        for beginning in parts + words
        if not any(other.startswith(beginning) for other in others) or beginning == name
    ]
    return next((beginning for beginning in alone if len(beginning) <= width), min(alone, key=len))


def listed(items: Sequence[str], room: int) -> str:
    """Return the first items that fit `room`, at least one, which may be cut, and how many more there are."""
    for count in range(len(items), 0, -1):
        rest = len(items) - count
        text = ", ".join([*items[:count], *([f"{rest} more"] if rest else [])])
        if len(text) <= room:
            return text
    more = f", {len(items) - 1} more" if items[1:] else ""
    return shorten(items[0], room - len(more)) + more
