"""Growth of the time of every search: `python -m bench.studies.growth --plot docs/growth.svg`.

Rows, classes, width or settings are doubled while the others stay. The exponent of a line is the slope between its
last two points: 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from bench import features, grids
from bench.busy import OtherCores
from bench.features import Rows
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.report import rendering
from transfer.report.rendering import Table
from transfer.system import hardware

USUAL = {"rows": 3000, "classes": 16, "width": 1024, "settings": 4}
GROWING = {
    "rows": (750, 1500, 3000, 6000),
    "classes": (4, 8, 16, 32),
    "width": (512, 1024, 2048, 4096),
    "settings": (1, 2, 4, 8, 16),
}
VALID = 300
# The parameter of each search that its settings differ in, and what range they are taken from.
GRIDS = {
    "fc": ("lr", (-4, -2)),
    "svm": ("C", (-2, 2)),
    "ridge": ("alpha", (-2, 4)),
    "logreg": ("C", (-2, 2)),
    "knn": ("k", None),
}
Seconds = dict[str, dict[str, dict[int, list[float]]]]


def main() -> None:
    """Measure, print a table, draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each search (3)")
    parser.add_argument("--json", type=Path, help="raw seconds go there")
    parser.add_argument("--plot", type=Path, help="a picture goes there")
    args = parser.parse_args()
    torch.set_num_threads(hardware.usable_cores())
    others = OtherCores()
    seconds = {what: grown(what, args.rounds) for what in GROWING}
    record: dict[str, Any] = {
        "machine": hardware.describe(),
        "usual": USUAL,
        "other_cores": others.mean(),
        "seconds": seconds,
    }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1))
    show(seconds)
    if args.plot:
        draw(seconds, args.plot, record["machine"])


def grown(what: str, rounds: int) -> dict[str, dict[int, list[float]]]:
    """Return raw seconds of every search by the amount of `what`, the searches taken in turn."""
    seconds: dict[str, dict[int, list[float]]] = {name: {} for name in GRIDS}
    for count in GROWING[what]:
        size = {**USUAL, what: count}
        rows = features.synthetic(size["rows"], VALID, 0, width=size["width"], classes=size["classes"])
        ways = {name: Way(call=partial(fit, name, rows, size["settings"])) for name in GRIDS}
        for name, raw in time_in_turn(ways, rounds).items():
            seconds[name][count] = raw
    return seconds


def fit(name: str, rows: Rows, settings: int) -> None:
    """Fit one search over a number of settings."""
    parameter, span = GRIDS[name]
    grid = range(1, settings + 1) if span is None else np.logspace(*span, settings)
    axis: dict[str, Any] = {parameter: tuple(grid)}
    search = grids.search(name, **axis)
    search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)


def exponent(raw: dict[int, list[float]]) -> float:
    """Return the slope of log time by log count between the last two points."""
    (less, before), (more, after) = [(n, statistics.median(seconds)) for n, seconds in raw.items()][-2:]
    return math.log(after / before) / math.log(more / less)


def show(seconds: Seconds) -> None:
    """Print medians and exponents."""
    rows = []
    for what, counts in GROWING.items():
        rows.append([what, *[f"{n:,}" for n in counts], *[""] * (6 - len(counts))])
        for name, raw in seconds[what].items():
            medians = [f"{statistics.median(raw[n]):.3f} s" for n in counts]
            rows.append([f"  {name}", *medians, *[""] * (5 - len(counts)), f"{exponent(raw):.2f}"])
    columns = ["search", *[" "] * 5, " exponent"]
    rendering.draw(
        Table("Medians of searches, and exponents of growth", columns, rows), Console(highlight=False)
    )


def draw(seconds: Seconds, path: Path, machine: dict[str, Any]) -> None:
    """Draw four plots of the same."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "transfer"  # the same picture from the same figures
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(GROWING), figsize=(13, 3.4), sharey=True, layout="constrained")
    for axis, (what, counts) in zip(axes, GROWING.items(), strict=True):
        for name, raw in seconds[what].items():
            axis.loglog(counts, [statistics.median(raw[n]) for n in counts], marker="o", label=name)
        axis.set_xticks(counts, [f"{n:,}" for n in counts])
        axis.minorticks_off()
        axis.set_xlabel(what)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds of a search")
    axes[-1].legend()
    usual = ", ".join(f"{n:,} {what}" for what, n in USUAL.items())
    figure.suptitle(
        f"{machine['processor']}, {machine['usable_cores']} cores; {usual} unless varied", fontsize=9
    )
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(exit_status(main))
