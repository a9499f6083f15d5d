"""Text of any origin, made safe to show: file names and messages of libraries may hold anything."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """Return text on one line without control characters and direction marks."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; `out of memory` or the type's name if it has none."""
    return (
        str(error).splitlines()
        or ["out of memory" if isinstance(error, MemoryError) else type(error).__name__]
    )[0]


def join_cells(*cells: str) -> str:
    """Join cells with tabs to one line that other programs can read; tabs within cells are replaced."""
    return "\t".join(printable(cell) for cell in cells)


def escape(text: str) -> str:
    """Escape all characters that mean something in Markdown or HTML."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~&" else c for c in printable(text))


def as_written(text: str) -> str:
    """Return a name as it is read from a file in UTF-8: where the locale is another, bytes stand for letters in it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def list_first(names: Sequence[str], count: int = 3) -> str:
    """Join the first of some names, and say how many more there are."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def in_bytes(count: int) -> str:
    """Format a number of bytes in the largest unit that leaves a number of at least 1."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and units[1:]:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 99.95 else f"{size:.1f} {units[0]}"
