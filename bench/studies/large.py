"""A linear SVM on too many rows for a Gram matrix, against `LinearSVC`: `python -m bench.studies.large`.

Each has its own process, which reports, beyond the time of the fit, the memory beyond the features, and the value of
the common objective. Fits are taken in turn, after a warm-up on few rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC

from bench import features
from bench.busy import OtherCores
from bench.processes import Prepared, Worker, peak_bytes
from bench.reporting.status import exit_status
from bench.turns import Way, time_in_turn
from transfer.heads import SVM
from transfer.system import hardware

CLASSES, CHUNK = 16, 4096
FEW = 2048  # rows that the threads and libraries of a way are started on
WAYS: dict[str, Any] = {
    "transfer SVM": lambda C: SVM(kernel="linear", C=C, standardize=False, memory_gb=1),
    "LinearSVC": lambda C: LinearSVC(C=C),
}


def main() -> None:
    """Fit both, print time, memory and objective."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.large", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000, help="training rows (50,000)")
    parser.add_argument("--width", type=int, default=features.WIDTH, help=f"features ({features.WIDTH})")
    parser.add_argument("--C", type=float, default=1.0, help="(1)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"({','.join(WAYS)})")
    parser.add_argument("--rounds", type=int, default=1, help="of each way, in turn (1)")
    parser.add_argument("--json", type=Path, help="figures go there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        with Worker(make, Path(folder), args.rows, args.width):
            pass
        workers = {
            name: stack.enter_context(Worker(prepare, name, Path(folder), args.C))
            for name in args.ways.split(",")
        }
        ways = {name: Way(call=partial(worker.call, "fit")) for name, worker in workers.items()}
        others = OtherCores()
        seconds = time_in_turn(ways, args.rounds, warm_up=False)
        other_cores = others.mean()
        found = {
            name: {"fit_s": statistics.median(raw), "seconds": raw, **workers[name].call("results")}
            for name, raw in seconds.items()
        }
    for name, own in found.items():
        print(
            f"{name:13} {own['fit_s']:7.1f} s, {own['above_features_mib']:6,.0f} MiB above the "
            f"features, objective {own['objective']:.6g}"
        )
    if len(found) > 1:
        ours, usual = (found[name] for name in WAYS)
        less = ours["objective"] / usual["objective"] - 1
        print(f"{usual['fit_s'] / ours['fit_s']:.1f}x; objective {less:+.1e}")
    if args.json:
        record = {"machine": hardware.describe(), "rows": args.rows, "width": args.width, "C": args.C}
        args.json.write_text(json.dumps({**record, "other_cores": other_cores, "ways": found}, indent=1))


@contextmanager
def make(folder: Path, rows: int, width: int) -> Iterator[Prepared]:
    """Write standardised features and labels as NumPy files, in a process of its own that releases the memory."""
    made = features.synthetic(rows, 0, 0, width=width, classes=CLASSES)
    x_ND = made.x_train
    x_ND -= x_ND.mean(0, dtype=np.float64).astype(np.float32)
    x_ND /= x_ND.std(0, dtype=np.float64).astype(np.float32)
    np.save(folder / "x.npy", x_ND)
    np.save(folder / "y.npy", made.y_train)
    yield {}, None


@contextmanager
def prepare(name: str, folder: Path, C: float) -> Iterator[Prepared]:
    """Load the features, warm up on few of them; yield calls that fit on all and return what came of it."""
    x_ND, y_N = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    WAYS[name](C).fit(x_ND[:FEW], y_N[:FEW])
    before, heads = peak_bytes(), {}

    def fit() -> None:
        heads["last"] = WAYS[name](C).fit(x_ND, y_N)
        heads.setdefault("peak", peak_bytes())

    def results() -> dict[str, float]:
        return {
            "above_features_mib": (heads["peak"] - before) / 2**20,
            "objective": objective(heads["last"], x_ND, y_N, C),
        }

    yield {"fit": fit, "results": results}, None


def objective(head: Any, x_ND: Any, y_N: Any, C: float) -> float:
    """Return the objective of LinearSVC, summed over classes.

    Squared hinge, one class against the rest, the intercept penalised too.
    """
    w_CD, b_C = head.coef_.astype(np.float64), head.intercept_.astype(np.float64)
    loss = 0.0
    for i in range(0, len(x_ND), CHUNK):
        side_NC = np.where(y_N[i : i + CHUNK, None] == head.classes_, 1, -1)
        margin_NC = 1 - side_NC * (x_ND[i : i + CHUNK] @ w_CD.T + b_C)
        loss += float((np.maximum(margin_NC, 0) ** 2).sum())
    return float(0.5 * ((w_CD**2).sum() + (b_C**2).sum()) + C * loss)


if __name__ == "__main__":
    sys.exit(exit_status(main))
