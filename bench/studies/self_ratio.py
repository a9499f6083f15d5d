"""Ratio of a way to itself: `python -m bench.studies.self_ratio`.

The same call is timed twice in turn under two names, as `make bench` times ours and a reference. Their ratio
should be 1; its deviation in several runs is the error to expect of other ratios.
Exit status: 0 if no ratio deviates by more than `LIMIT`; 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench import features, grids, synthetic_images, ways
from bench.busy import OtherCores, report_busy
from bench.profiles import PROFILES, Profile
from bench.references import adam_loop
from bench.reporting import status, timings
from bench.turns import Way, time_in_turn
from transfer.report.rendering import Table, draw
from transfer.system import hardware

LIMIT = 0.08


@contextmanager
def operations(profile: Profile) -> Iterator[dict[str, tuple[Callable[[], Any], int]]]:
    """Yield calls of the suites by name, short and long ones, with the rounds that `make bench` gives them."""
    rows = features.synthetic(profile.rows, profile.rows // 10, profile.rows * 3 // 8)
    fitted = grids.search("svm").fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(profile.images):
            synthetic_images.draw(Path(folder) / "images", f"class{i % 2}", i, seed=i)
        with ways.opened(Path(folder) / "images", Path(folder), profile.backbone) as extractor:
            plan = ways.usual_plan("cpu")
            engine = ways.engine(extractor, plan.engine, plan.precision, "cpu")
            batches = ways.pixels(extractor)

            def fit(name: str) -> Any:
                return grids.search(name).fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)

            yield {
                "decode": (partial(ways.pixels, extractor), profile.rounds),
                f"forward, {plan.engine} {plan.precision}": (
                    partial(ways.compute_batches, engine, batches),
                    profile.network_rounds,
                ),
                "extract to store": (partial(ways.to_store, extractor, engine), profile.network_rounds),
                "fit, DataLoader loop": (
                    lambda: adam_loop.search(rows, **adam_loop.LAB),
                    profile.rounds,
                ),
                **{
                    f"fit, {name}": (partial(fit, name), profile.rounds)
                    for name in ("fc-lab", "svm", "ridge", "knn")
                },
                "predict, svm": (partial(fitted.predict, rows.x_test), profile.rounds),
            }


def time_twice(call: Callable[[], Any], rounds: int, more_s: float) -> dict[str, list[float]]:
    """Time a way under two names; return the seconds of the rounds of each."""
    return time_in_turn({"one": Way(call=call), "other": Way(call=call)}, rounds, more_s=more_s)


def ratio(seconds: dict[str, list[float]]) -> float:
    """Return the ratio that `make bench` would show of the two names."""
    one, other = ({"seconds": own} for own in seconds.values())
    return timings.times_as_fast(one, other)


def main() -> int:
    """Time everything, print the ratios, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.self_ratio", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="(5)")
    parser.add_argument("--profile", choices=PROFILES, default="fast", help="whose rounds and sizes (fast)")
    parser.add_argument("--only", default="", help="operations whose name holds this (all)")
    parser.add_argument("--json", type=Path, help="ratios go there")
    args = parser.parse_args()
    torch.set_num_threads(hardware.usable_cores())
    seconds: dict[str, list[dict[str, list[float]]]] = {}
    others = OtherCores()
    with operations(PROFILES[args.profile]) as calls:
        for _ in range(args.runs):
            for name, (call, rounds) in calls.items():
                if args.only in name:
                    both = time_twice(call, rounds, PROFILES[args.profile].more_s)
                    seconds.setdefault(name, []).append(both)
                    print(f"{name}: {ratio(both):.3f}", file=sys.stderr, flush=True)
    ratios = {name: [ratio(both) for both in runs] for name, runs in seconds.items()}
    machine, other_cores = hardware.describe(), others.mean()
    if args.json:
        record = {"machine": machine, "other_cores": other_cores, "ratios": ratios, "seconds": seconds}
        args.json.write_text(json.dumps(record, indent=1) + "\n")
    rows = [[name, *(f"{one:.3f}" for one in own), f"{furthest(own):.1%}"] for name, own in ratios.items()]
    columns = ["way against itself", *(f" run {i + 1}" for i in range(args.runs)), " off by"]
    draw(Table("Ratio of a way to itself", columns, rows), Console())
    report_busy(other_cores, machine["usable_cores"])
    return int(max(map(furthest, ratios.values())) > LIMIT)


def furthest(ratios: list[float]) -> float:
    """Return the largest deviation of a ratio from 1: 0.1 for 1.1 and for 1 / 1.1."""
    return max(max(one, 1 / one) for one in ratios) - 1


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
