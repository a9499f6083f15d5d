"""Text of any origin, made safe to show: names are whatever a file system holds, reasons whatever a library says."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text on one line in which a terminal finds nothing to act on: no control character, no direction mark."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def first_line(error: BaseException) -> str:
    """What an error says, on one line; errors of memory say nothing, and are named."""
    return (
        str(error).splitlines()
        or ["out of memory" if isinstance(error, MemoryError) else type(error).__name__]
    )[0]


def line(*cells: str) -> str:
    """One line for other programs as well: cells with a tab between them, and none within."""
    return "\t".join(printable(cell) for cell in cells)


def escaped(text: str) -> str:
    """Text in which Markdown and HTML find nothing to act on."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~" else c for c in printable(text))


def in_bytes(count: int) -> str:
    """A number of bytes, in the largest unit that leaves it a one before the point."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and units[1:]:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 99.95 else f"{size:.1f} {units[0]}"
