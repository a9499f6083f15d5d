"""Features of very many images in a store: `python -m bench.studies.many_rows`.

Rows of noise are written in shards of full size, then a process of its own lists the store, opens the table, finds
what is missing, goes on with new images, gathers all rows and deletes them; the first steps are part of the later ones.
Printed are the seconds of each, and the memory of the process at its highest before rows are gathered.

N: images. D: features an image.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.processes import Prepared, Worker, peak_bytes
from bench.reporting.status import exit_status
from transfer.cache import inventory, pruning
from transfer.cache.feature_table import SHARD_ROWS
from transfer.cache.store import Store
from transfer.system.content_ids import Ids

DECLARED = {"study": "many_rows"}
STEPS = ("list", "open", "find", "resume", "gather", "prune")
NEW, SEED = 64, 0


def main() -> None:
    """Write rows, time what is done with them, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.many_rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="images (1,000,000)")
    parser.add_argument("--width", type=int, default=64, help="features an image (64)")
    parser.add_argument(
        "--folder", type=Path, help="a folder in which the store is made; by default that of temporary files"
    )
    parser.add_argument("--json", type=Path, help="figures go there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        found = study(Path(temporary), args.rows, args.width)
    for step in STEPS:
        print(f"{step:7} {found[step]:7.2f} s")
    print(f"memory  {found['peak_bytes'] / 1e6:7,.0f} MB, without gathered rows")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


def study(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Write rows into a store in a folder; return the seconds of each step, and the memory before rows are gathered."""
    with Worker(make, folder, rows, width):
        pass
    with Worker(prepare, folder, rows, width) as worker:
        found = {}
        for step in STEPS:
            if step == "gather":
                found["peak_bytes"] = worker.call("peak")
            found[step] = worker.call(step)
    return found


def draw_ids(rows: int) -> Ids:
    """Return ids of images, the same every time: those of fewer rows are the first of those of more."""
    return np.random.default_rng(SEED).integers(0, 256, (rows, 32), np.uint8)


@contextmanager
def make(folder: Path, rows: int, width: int) -> Iterator[Prepared]:
    """Write the rows of all images but the last ones, which are new later."""
    table, rng, ids_N32 = Store(folder).table(DECLARED), np.random.default_rng(SEED), draw_ids(rows)
    for start in range(0, rows, SHARD_ROWS):
        ids_B32 = ids_N32[start : start + SHARD_ROWS]
        table.append(ids_B32, rng.standard_normal((len(ids_B32), width), np.float32), 1.0, "study")
    yield {}, None


@contextmanager
def prepare(folder: Path, rows: int, width: int) -> Iterator[Prepared]:
    """Yield a call for each step, which returns its seconds, and one for the highest memory of this process."""
    ids_N32 = draw_ids(rows + NEW)
    made_ND = np.zeros((NEW, width), np.float32)

    def list_store() -> None:
        (entry,) = inventory.list_entries(folder)
        assert entry.images == rows, entry

    def open_table() -> None:
        Store(folder).table(DECLARED)

    def find() -> None:
        assert (~Store(folder).table(DECLARED).holds(ids_N32)).sum() == NEW

    def resume() -> None:
        table = Store(folder).table(DECLARED)
        table.append(ids_N32[~table.holds(ids_N32)], made_ND, 1.0, "study")
        table.merge()

    def gather() -> None:
        assert len(Store(folder).table(DECLARED).gather(ids_N32)) == len(ids_N32)

    def prune() -> None:
        for entry in pruning.choose_entries(inventory.list_entries(folder), pruning.Rule(max_bytes=0)):
            assert pruning.delete(entry)

    steps = list_store, open_table, find, resume, gather, prune
    calls = {name: timed(step) for name, step in zip(STEPS, steps, strict=True)}
    yield calls | {"peak": peak_bytes}, None


def timed(step: Callable[[], None]) -> Callable[[], float]:
    """Return a call that returns the seconds of a step."""

    def call() -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    return call


if __name__ == "__main__":
    sys.exit(exit_status(main))
