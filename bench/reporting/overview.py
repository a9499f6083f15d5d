"""One table of operations: processor beside GPU, our best way against the fastest reference, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from bench.reporting import timings
from bench.reporting.comparison import Compared, by_device, figure, format_ratio
from bench.reporting.layout import WIDTH, align, listed, short_names, shorten
from bench.reporting.record import Record
from bench.reporting.tables import day
from bench.reporting.timings import REFERENCE

# References whose names are longer than their column, and its width.
SHORT_NAMES = {"DataLoader loop": "DataLoader", "network in every epoch": "every epoch"}
NAME_WIDTH = 13
RATES = "/s: images a second, where CPU and GPU went through different numbers of images"


def lines(shown: Record, gpu_record: Record | None) -> list[str]:
    """Return the table with its caption, a line for each operation.

    Parameters
    ----------
    shown : Record
    gpu_record : Record, optional
        The record whose GPU is shown.

    Returns
    -------
    list of str
        Lines of at most 80 characters where the operations' names differ early enough.
    """
    compared = by_device(shown, gpu_record)
    rates = [bool(cpu.images and gpu.images and cpu.images != gpu.images) for cpu, gpu in compared.values()]
    columns = {
        name: list(column)
        for name, column in zip(("CPU", "GPU"), zip(*compared.values(), strict=True), strict=True)
    }
    found = {
        name: column for name, column in columns.items() if any(one.ours or one.reference for one in column)
    }
    first = next(iter(found), None)
    blocks = [_block(name, column, rates, named=name == first) for name, column in found.items()]
    room = WIDTH - sum(len(block[0]) for block in blocks) - 2 * len(blocks) + 1
    names = short_names(list(compared), room)
    labels = align([[name] for name in ("operation", *names.values())])
    table = [f"{label} {'  '.join(parts)}".rstrip() for label, *parts in zip(labels, *blocks, strict=True)]
    return [
        "Medians: our best way, the fastest reference, ratio (above 1x ours is faster)",
        *_recorded(gpu_record),
        *table,
        *([RATES] if any(rates) else []),
        *(_gpu_references(compared, names) if first == "CPU" else []),
    ]


def _recorded(gpu_record: Record | None) -> list[str]:
    """Say whose GPU it is if it is not this machine's."""
    if not gpu_record:
        return []
    gpus = ", ".join(gpu["name"] for gpu in gpu_record.environment["gpus"])
    return [shorten(f"GPU: {gpus}", WIDTH - 44) + f", recorded {day(gpu_record)}, not this machine"]


def _block(device: str, column: Sequence[Compared], rates: Sequence[bool], *, named: bool) -> list[str]:
    """Return the columns of a device, all equally wide, its name in the head; names of references if `named`."""
    rows = [[device, "", "reference", "ratio"] if named else [device, "ref.", "ratio"]]
    across = [""]
    for one, as_rate in zip(column, rates, strict=True):
        across.append(_range(one, as_rate=as_rate, named=named))
        if across[-1]:
            rows.append([""] * len(rows[0]))
            continue
        times = [figure(way, as_rate=as_rate) for way in (one.ours, one.reference)]
        name = one.reference["way"] if one.reference else ""
        name = shorten(SHORT_NAMES.get(name, name), NAME_WIDTH)
        rows.append([*times, *([name] if named else []), format_ratio(one)])
    drawn = align(rows, right={0, 1, len(rows[0]) - 1})
    width = max(map(len, [drawn[0], *across]))
    return [(text or line).ljust(width) for text, line in zip(across, drawn, strict=True)]


def _range(one: Compared, *, as_rate: bool, named: bool) -> str:
    """Return the fastest and the slowest of several methods; empty where ways do the same."""
    if not one.methods:
        return ""
    ends = [one.methods[0], one.methods[-1]]
    return " to ".join(figure(way, as_rate=as_rate) + (f" ({way['way']})" if named else "") for way in ends)


def _gpu_references(compared: dict[str, tuple[Compared, Compared]], names: dict[str, str]) -> list[str]:
    """Name the references on the GPU where they are not those on the processor."""
    found: dict[str, list[str]] = {}
    for operation, (cpu, gpu) in compared.items():
        if gpu.reference and (not cpu.reference or gpu.reference["way"] != cpu.reference["way"]):
            name = timings.name_way(gpu.reference).removeprefix(REFERENCE)
            found.setdefault(name, []).append(names[operation])
    start = "GPU references: "
    each = [f"{name} ({', '.join(where)})" for name, where in found.items()]
    return [start + listed(each, WIDTH - len(start))] if each else []
