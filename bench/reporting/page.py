"""A record as one self-contained page of HTML: drawings, every way, every ratio, all recorded machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.reporting import charts, notes, recorded, tables, timings
from bench.reporting.comparison import Compared, by_device, find_gpu_record, format_ratio
from bench.reporting.record import Record
from bench.reporting.timings import REFERENCE, Benchmark, amount
from transfer.report.html.templates import environment
from transfer.report.rendering import Table

TEMPLATE = Path(__file__).with_name("page.html")


def render(shown: Record, filed: Sequence[Record]) -> str:
    """Write the page of a record.

    Parameters
    ----------
    shown : Record
    filed : sequence of Record
        Recorded runs, the oldest first: machines to set beside it, and a GPU if it has none.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.
    """
    gpu_record = find_gpu_record(shown, filed)
    compared = by_device(shown, gpu_record)
    page: str = (
        environment()
        .from_string(TEMPLATE.read_text("utf-8"))
        .render(
            shown=shown,
            gpu_record=gpu_record,
            day=tables.day(shown),
            heading=notes.heading(shown),
            headline=shown.run.get("headline"),
            answer=notes.answer(shown),
            reason=notes.reason(shown),
            scores=charts.scores(shown),
            accuracies=tables.accuracies(shown),
            ratios=charts.ratios(compared, "GPU, recorded" if gpu_record else "GPU"),
            operations=operations(compared),
            every=[(one.machine, tables.ways(one), tables.ratios(one)) for one in (shown, gpu_record) if one],
            machines=recorded.side_by_side(recorded.newest(filed)),
            notes=[note.whole() for note in notes.notes(shown)]
            + [f"recorded GPU: {note.whole()}" for note in (notes.notes(gpu_record) if gpu_record else [])],
            environment=json.dumps(shown.environment, indent=1),
        )
    )
    return page


def operations(compared: dict[str, tuple[Compared, Compared]]) -> Table:
    """Tabulate our best way and the fastest reference of each operation on each device."""
    rows = []
    for operation, pair in compared.items():
        for device, one in zip(("CPU", "GPU"), pair, strict=True):
            if one.methods:
                rows.append([operation, device, amount(one.methods), *_ends(one.methods)])
            elif one.ours or one.reference:
                known = [way for way in (one.ours, one.reference) if way]
                cells = [cell for way in (one.ours, one.reference) for cell in _way(way)]
                rows.append([operation, device, amount(known), *cells, format_ratio(one)])
    columns = [
        "operation",
        "on",
        "work",
        "ours",
        " time",
        " images/s",
        "reference",
        " time",
        " images/s",
        " ratio",
    ]
    return Table("Medians; ratio: how many times as fast ours is", columns, rows)


def _ends(methods: Sequence[Benchmark]) -> list[str]:
    """Return cells that name the fastest and the slowest of several methods."""
    ends = " to ".join(
        f"{timings.duration(timings.median_s(way))} ({way['way']})" for way in (methods[0], methods[-1])
    )
    return [f"{len(methods)} methods: {ends}", "", "", "-", "-", "", "-"]


def _way(way: Benchmark | None) -> list[str]:
    if way is None:
        return ["-", "-", ""]
    return [
        timings.name_way(way).removeprefix(REFERENCE),
        timings.duration(timings.median_s(way)),
        timings.rate(way),
    ]
