"""A linear SVM on more rows than a Gram matrix is made for, against `LinearSVC`: `python -m bench.large`.

Each has a process of its own, which tells what the fit took: seconds, memory beyond the features, and how low it
brought the objective that both have.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC

from bench import features
from transfer import environment
from transfer.heads import SVM
from transfer.timing import now

CLASSES, CHUNK = 16, 4096
WAYS: dict[str, Any] = {
    "transfer SVM": lambda C: SVM(kernel="linear", C=C, standardize=False, memory_gb=1),
    "LinearSVC": lambda C: LinearSVC(C=C),
}


def main() -> None:
    """Fit both, print what each took."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000, help="training rows (50,000)")
    parser.add_argument("--width", type=int, default=features.WIDTH, help=f"features ({features.WIDTH})")
    parser.add_argument("--C", type=float, default=1.0, help="(1)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"({','.join(WAYS)})")
    parser.add_argument("--json", type=Path, help="figures go there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        in_a_process(make, Path(folder), args.rows, args.width)
        found = {}
        for name in args.ways.split(","):
            found[name] = in_a_process(fit, name, Path(folder), args.C)
            print(
                f"{name:13} {found[name]['fit_s']:7.1f} s, {found[name]['above_features_mib']:6,.0f} MiB above the "
                f"features, objective {found[name]['objective']:.6g}",
                flush=True,
            )
    if len(found) > 1:
        ours, usual = (found[name] for name in WAYS)
        less = ours["objective"] / usual["objective"] - 1
        print(f"{usual['fit_s'] / ours['fit_s']:.1f}x; objective {less:+.1e}")
    if args.json:
        record = {"machine": environment.describe(), "rows": args.rows, "width": args.width, "C": args.C}
        args.json.write_text(json.dumps({**record, "ways": found}, indent=1))


def in_a_process(call: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, made by a process of its own.

    Its peak of memory begins with what this one has, so this one has little.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(call, *args).result()


def make(folder: Path, rows: int, width: int) -> None:
    """Standardised features and labels, as NumPy files."""
    made = features.synthetic(rows, 0, 0, width=width, classes=CLASSES)
    x_ND = made.x_train
    x_ND -= x_ND.mean(0, dtype=np.float64).astype(np.float32)
    x_ND /= x_ND.std(0, dtype=np.float64).astype(np.float32)
    np.save(folder / "x.npy", x_ND)
    np.save(folder / "y.npy", made.y_train)


def fit(name: str, folder: Path, C: float) -> dict[str, float]:
    """One fit, in this process."""
    x_ND, y_N = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    before = peak_bytes()
    start = now()
    head = WAYS[name](C).fit(x_ND, y_N)
    took_s = now() - start
    return {
        "fit_s": took_s,
        "above_features_mib": (peak_bytes() - before) / 2**20,
        "objective": objective(head, x_ND, y_N, C),
    }


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def objective(head: Any, x_ND: Any, y_N: Any, C: float) -> float:
    """LinearSVC's, summed over classes: squared hinge, one class against the rest, the intercept penalised too."""
    w_CD, b_C = head.coef_.astype(np.float64), head.intercept_.astype(np.float64)
    loss = 0.0
    for i in range(0, len(x_ND), CHUNK):
        side_NC = np.where(y_N[i : i + CHUNK, None] == head.classes_, 1, -1)
        margin_NC = 1 - side_NC * (x_ND[i : i + CHUNK] @ w_CD.T + b_C)
        loss += float((np.maximum(margin_NC, 0) ** 2).sum())
    return float(0.5 * ((w_CD**2).sum() + (b_C**2).sum()) + C * loss)


if __name__ == "__main__":
    main()
