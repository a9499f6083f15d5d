"""Summary of a record on one screen: `python -m bench.reporting.summary RECORD [--html FILE] [--verbose]`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench.reporting import notes, overview, page, record, recorded, status, tables, timings
from bench.reporting.comparison import SHORT_S, find_gpu_record
from bench.reporting.layout import WIDTH, align, listed, shorten, wrap
from bench.reporting.record import Record
from transfer.report.rendering import draw
from transfer.system.text import printable

# The lines of a screen; notes that do not fit are on the page.
HEIGHT = 45
# What `make bench` leaves beside a record, as far as it is there.
BESIDE = ("report.html", "result.json")


def show(
    shown: Record,
    filed: Sequence[Record],
    console: Console,
    *,
    written: Sequence[Path] = (),
    verbose: bool = False,
) -> None:
    """Print the summary of a record.

    Parameters
    ----------
    shown : Record
    filed : sequence of Record
        Recorded runs, the oldest first; the newest GPU of them is shown if `shown` has none.
    console : rich.console.Console
    written : sequence of Path
        The files that are named at the end.
    verbose : bool
        Whether all tables follow: every way, every ratio, all recorded machines.
    """
    for line in lines(shown, find_gpu_record(shown, filed), written):
        # A figure that was cut off would read as another figure.
        console.print(Text(printable(line)), no_wrap=True, overflow="ignore", crop=False)
    if verbose:
        for table in (
            tables.ways(shown),
            tables.ratios(shown),
            *recorded.side_by_side(recorded.newest(filed)),
        ):
            draw(table, console)


def lines(shown: Record, gpu_record: Record | None, written: Sequence[Path] = ()) -> list[str]:
    """Return the summary, at most `HEIGHT` lines for as many methods and operations as `make bench` has."""
    above = [
        *_heading(shown),
        "",
        *_accuracies(shown),
        "",
        *overview.lines(shown, gpu_record),
        "",
        *wrap(notes.reason(shown)),
    ]
    below = [*_counts(shown), *_where(written)]
    found = [note.line() for note in notes.notes(shown)]
    room = max(HEIGHT - len(above) - len(below), 1)
    if len(found) > room:
        found = [
            *found[: room - 1],
            f"Note: {len(found) - room + 1} more notes: --verbose, or the page",
        ]
    return [*above, *found, *below]


def _heading(shown: Record) -> list[str]:
    """Return machine, state and revision, and which method is ahead."""
    environment = shown.environment
    gpus = ", ".join(gpu["name"] for gpu in environment["gpus"]) or "no GPU"
    cores = environment["usable_cores"]
    machine = f"{environment['processor']}, {cores} core{'s' if cores > 1 else ''}, {gpus}"
    state = (
        f"{notes.busy_or_quiet(shown)}, {tables.day(shown)}, {tables.commit(environment)}, {shown.profile}"
    )
    whole = f"{machine}; {state}"
    found = [whole] if len(whole) <= WIDTH else [shorten(machine, WIDTH), shorten(state, WIDTH)]
    headline = shown.run.get("headline")
    return [*found, *(wrap(headline) if headline else [])]


def _accuracies(shown: Record) -> list[str]:
    table = tables.accuracies(shown)
    head = [column.strip() for column in table.columns]
    right = {i for i, column in enumerate(table.columns) if column[0] == " "}
    rows = [[shorten(cell, 20) for cell in row] for row in table.rows]
    return [
        shorten(table.title, WIDTH),
        *(line.rstrip() for line in align([head, *rows], right)),
    ]


def _counts(shown: Record) -> list[str]:
    """Say how many benchmarks there are, how far apart their rounds were, and what was skipped."""
    text = f"{len(shown.benchmarks)} benchmark{'s' if len(shown.benchmarks) > 1 else ''}"
    # A call, a thread's start and the clock are most of what varies in shorter ones.
    long = [
        b for b in shown.benchmarks if timings.spread_of(b) is not None and timings.median_s(b) >= SHORT_S
    ]
    if long:
        widest = max(long, key=lambda b: timings.spread_of(b) or 0)
        text += f"; widest spread {timings.spread(widest)} ({widest['operation']}: {widest['way']})"
    found = [shorten(text, WIDTH)]
    if skipped := shown.skipped:
        start = f"{sum(skipped.values())} skipped: "
        reasons = sorted(skipped, key=lambda reason: -skipped[reason])
        counted = [f"{reason} ({skipped[reason]})" for reason in reasons]
        found.append(start + listed(counted, WIDTH - len(start)))
    return found


def _where(written: Sequence[Path]) -> list[str]:
    """Name the files, by folder."""
    folders: dict[Path, list[str]] = {}
    for path in written:
        folders.setdefault(path.parent, []).append(path.name)
    return [line for folder, names in folders.items() for line in wrap(f"In {folder}: {', '.join(names)}")]


def main() -> int:
    """Print the summary of a record, and write its page."""
    parser = argparse.ArgumentParser(prog="python -m bench.reporting.summary", description=__doc__)
    parser.add_argument(
        "file", type=Path, metavar="RECORD", help="a record, as bench.reporting.record makes it"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write all tables and drawings to this page"
    )
    parser.add_argument("--verbose", action="store_true", help="print all tables too")
    args = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names hold letters that a terminal may not have
        sys.stdout.reconfigure(errors="backslashreplace")
    shown, filed = record.load(args.file), record.load_filed(record.RESULTS)
    written = [args.html] if args.html else []
    if args.html:
        record.write(args.html, page.render(shown, filed))
    written += [
        args.file,
        *(args.file.with_name(name) for name in BESIDE if args.file.with_name(name).exists()),
    ]
    show(shown, filed, Console(), written=written, verbose=args.verbose)
    return 0


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
