"""The figures of a folder of results on a screen."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.gpu.part import Row
from bench.gpu.parts import PARTS
from bench.gpu.schedule import MANIFEST
from bench.studies import limits
from transfer.report.rendering import Table, draw
from transfer.system import schemas

# Things that were left out for the same reason and are named.
NAMED = 2
SCHEMA = Path(__file__).with_name("schema.json")


def show(out: Path, console: Console) -> None:
    """Print what each part measured, and what became of it. Raises `UserError` for what is no such folder."""
    manifest = read(out / MANIFEST)
    for spec in PARTS:
        path = out / f"{spec.name}.json"
        if path.exists() and (rows := read(path)["rows"]):
            draw(table(spec.name, rows), console)
    cells = [
        [part["name"], part["status"], f"{part['seconds']:.0f} s", str(part.get("rows", 0))]
        for part in manifest["parts"]
    ]
    title = f"{manifest['minutes']:g} minutes on {manifest['device']}, {', '.join(_gpus(manifest))}"
    draw(Table(title, ["part", "end", " took", " rows"], cells), console)
    for part in manifest["parts"]:
        by_reason: dict[str, list[str]] = {}
        for left in part.get("left_out", ()):
            by_reason.setdefault(left["why"], []).append(left["what"])
        for why, whats in by_reason.items():
            more = f" and {len(whats) - NAMED} more" if len(whats) > NAMED else ""
            console.print(f"left out of {part['name']}: {'; '.join(whats[:NAMED])}{more} ({why})")


def read(path: Path) -> dict[str, Any]:
    """Read a file of results. Raises `UserError` if it is none."""
    return schemas.parse(path, "GPU results", schemas.MAX_BYTES)


def table(name: str, rows: list[Row]) -> Table:
    """Tabulate the rows of a part: medians, by the device's own clock where that was read."""
    return Table(name, ["what", " seconds", "by", " rate", "cosine"], list(_cells(rows)))


def _cells(rows: list[Row]) -> Iterator[list[str]]:
    for row in rows:
        name = _name(row)
        if "per_s" in row:
            scale, unit = limits.UNITS[row["unit"]]
            yield [name, "", "", f"{statistics.median(row['per_s']) / scale:.2f} {unit}", ""]
        elif row["operation"] == "share":
            found = [f"{row[key]:.2f} of {key}" for key in limits.COMPARED if row[key]]
            yield [f"{name}, share of", "", "", ", ".join(found), ""]
        else:
            seconds = statistics.median(row["device_seconds"] if "device_seconds" in row else row["seconds"])
            images = row.get("images") if row["operation"] in ("forward", "decode", "extract") else None
            cosine = f"{row['cosine']:.5f}" if "cosine" in row else ""
            rate = f"{images / seconds:.1f} images/s" if images else ""
            yield [name, f"{seconds:.4f}", "reference" if row.get("reference") else "", rate, cosine]


def _name(row: Row) -> str:
    parts = [row["what"], row.get("way", ""), row.get("precision", "")]
    shown: list[str] = []
    for part in parts:
        if part and not any(part in one for one in shown):
            shown.append(part)
    if "device" in row and not any(row["device"] in one for one in shown):
        shown.append(row["device"])
    return ", ".join(shown)


def _gpus(manifest: dict[str, Any]) -> list[str]:
    names = [gpu["name"] for gpu in manifest["environment"]["gpus"]]
    return names or [manifest["environment"]["processor"]]
