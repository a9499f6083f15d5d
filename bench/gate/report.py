"""What the gate found, as a table and a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.gate.compare import INCONCLUSIVE, PASSED, Outcome, Row
from bench.gate.verdict import FASTER, SAME, SLOWER, UNCLEAR
from transfer.render import Table, draw, say

ORDER = [SLOWER, UNCLEAR, FASTER, SAME, ""]


def show(outcome: Outcome, console: Console) -> None:
    """Print every benchmark, the worst first, and the verdict."""
    if outcome.told:
        say(console, outcome.told)
    draw(table(outcome), console)
    say(console, verdict(outcome), style="bold")


def table(outcome: Outcome) -> Table:
    """Times, ratios and verdicts."""
    rows = [
        _row(row) for row in sorted(outcome.rows + outcome.controls, key=lambda row: ORDER.index(row.verdict))
    ]
    for names, told in (
        (outcome.missing, "MISSING"),
        (outcome.failed, "FAILED"),
        (outcome.new, "NEW"),
    ):
        rows += [[name, "-", "-", "-", "-", told] for name in names]
    columns = ["benchmark", " base, ms", " head, ms", " head/base", " interval", "verdict"]
    return Table("Medians of processes, one core and one thread (interval: 95 % and more)", columns, rows)


def verdict(outcome: Outcome) -> str:
    """What a reader has to know, in a line."""
    slower = [row.name for row in outcome.rows if row.verdict == SLOWER]
    parts = []
    if outcome.missing:
        parts.append(f"missing on the newer revision: {', '.join(outcome.missing)}")
    if outcome.failed:
        parts.append(f"fails on the newer revision: {', '.join(outcome.failed)}")
    if outcome.new:
        parts.append(f"not compared, since the older revision can't run it: {', '.join(outcome.new)}")
    if outcome.moved:
        parts.append(f"{', '.join(outcome.moved)} moved, which no revision can cause: times tell nothing")
    elif slower:
        parts.append(f"slower by more than the tolerance: {', '.join(slower)}")
    else:
        parts.append("no benchmark is slower by more than the tolerance, as far as these times tell")
    word = {PASSED: "passed", INCONCLUSIVE: "inconclusive"}.get(outcome.status, "red")
    return f"{word}: {'; '.join(parts)}"


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage on a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks = {}

        def told(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done)

        yield told


def _row(row: Row) -> list[str]:
    ratio = row.ratio
    return [
        row.name,
        f"{row.base_s * 1000:.2f}",
        f"{row.head_s * 1000:.2f}",
        f"{ratio.median:.3f}",
        f"{ratio.low:.3f}-{ratio.high:.3f}",
        row.verdict or "control",
    ]
