"""Report of a gate run: a table and a line."""

from __future__ import annotations

from rich.console import Console

from bench.gate.compare import INCONCLUSIVE, PASSED, Outcome, Row
from bench.gate.verdict import FASTER, SAME, SLOWER, UNCLEAR
from transfer.report.rendering import Table, draw, say

ORDER = [SLOWER, UNCLEAR, FASTER, SAME, ""]


def show(outcome: Outcome, console: Console) -> None:
    """Print every benchmark, the worst first, and the verdict."""
    if outcome.pytest_output:
        for line in outcome.pytest_output.splitlines():
            say(console, line)
    draw(table(outcome), console)
    say(console, verdict(outcome), style="bold")


def table(outcome: Outcome) -> Table:
    """Return a table of times, ratios and verdicts."""
    rows = [
        _row(row) for row in sorted(outcome.rows + outcome.controls, key=lambda row: ORDER.index(row.verdict))
    ]
    compared = {row.name for row in outcome.rows}
    for names, status in (
        (outcome.missing, "MISSING"),
        (outcome.failed, "FAILED"),
        (outcome.uncompared, "NOT COMPARED"),
        ([name for name in outcome.new if name not in {*compared, *outcome.failed}], "NEW"),
    ):
        rows += [[name, "-", "-", "-", "-", status] for name in names]
    columns = ["benchmark", " base, ms", " head, ms", " head/base", " interval", "verdict"]
    return Table("Medians of processes, one core and one thread (interval: 95 % and more)", columns, rows)


def verdict(outcome: Outcome) -> str:
    """Summarise the outcome in a line."""
    slower = [row.name for row in outcome.rows if row.verdict == SLOWER]
    parts = []
    if outcome.missing:
        parts.append(f"missing on the newer revision: {', '.join(outcome.missing)}")
    if outcome.failed:
        parts.append(f"fails on the newer revision: {', '.join(outcome.failed)}")
    if outcome.uncompared:
        parts.append(f"not compared, since it fails on the older revision: {', '.join(outcome.uncompared)}")
    if outcome.new:
        parts.append(f"new: {', '.join(outcome.new)}")
    if not outcome.rows:
        parts.append("nothing was compared")
    elif outcome.moved:
        parts.append(f"{', '.join(outcome.moved)} moved, which no revision can cause: the times show nothing")
    elif slower:
        parts.append(f"slower by more than the tolerance: {', '.join(slower)}")
    else:
        parts.append("no benchmark is slower by more than the tolerance, as far as these times show")
    word = {PASSED: "passed", INCONCLUSIVE: "inconclusive"}.get(outcome.status, "red")
    return f"{word}: {'; '.join(parts)}"


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
