"""Whether `fc` ends where `logreg` does: `python -m bench.studies.choice --features FILE.npz`.

Both fit a linear layer by cross entropy; one stops early, the other goes to the optimum. On one split the chosen
settings' scores depend on a hundred validation images, so both are searched on many.

N: images. D: features.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from sklearn.model_selection import StratifiedShuffleSplit

from bench import features
from bench.reporting.status import exit_status
from transfer.config import SCORE_NAMES, RunConfig
from transfer.heads.registry import METHODS
from transfer.heads.solutions import validation_scores
from transfer.report.rendering import Table, draw

Split = tuple[npt.NDArray[Any], ...]
COMPARED = ("fc", "logreg")


def draw_splits(y_N: npt.NDArray[np.int64], n_valid: int, n_test: int, n: int) -> list[Split]:
    """Draw training, validation and test rows, test rows stratified by class."""
    splits: list[Split] = []
    drawn = StratifiedShuffleSplit(n, test_size=n_test, random_state=0).split(y_N, y_N)
    for seed, (rest, test) in enumerate(drawn):  # classes of one image cannot be stratified twice
        order = np.random.default_rng(seed).permutation(rest)
        splits.append((order[n_valid:], order[:n_valid], test))
    return splits


def score_choices(
    method: str, x_ND: npt.NDArray[np.float32], y_N: npt.NDArray[np.int64], splits: list[Split]
) -> list[dict[str, Any]]:
    """Search on every split; return `valid` and `test`, the scores of the chosen setting."""

    def score(i: int, fitted: Any) -> dict[str, Any]:
        return {
            part: validation_scores(y_N[rows], fitted.predict(x_ND[rows]))
            for part, rows in zip(("valid", "test"), splits[i][1:], strict=True)
        }

    search = METHODS[method].build(RunConfig(data="features", device="cpu"))
    scored: list[dict[str, Any]] = search.fit_splits(
        x_ND, y_N, [(train, valid) for train, valid, _ in splits], score
    )
    return scored


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.choice", description=__doc__)
    features.add_argument(parser)
    parser.add_argument("--splits", type=int, default=20, help="drawn beside the file's own (20)")
    args = parser.parse_args()
    rows = features.real(args.features)
    sizes = [len(part) for part in (rows.y_train, rows.y_valid, rows.y_test)]
    x_ND, y_N = rows.joined()
    own = tuple(np.split(np.arange(len(y_N)), np.cumsum(sizes)[:2]))
    splits = [own, *draw_splits(y_N, sizes[1], sizes[2], args.splits)]
    found = {method: score_choices(method, x_ND, y_N, splits) for method in COMPARED}
    shown = []
    for part in ("valid", "test"):
        for name in SCORE_NAMES:
            values = {m: np.array([one[part][name] for one in scored]) for m, scored in found.items()}
            gaps = 100 * (values["fc"] - values["logreg"])[1:]
            first = [f"{values[m][0]:.3f}" for m in COMPARED]
            means = [f"{values[m][1:].mean():.3f}" for m in COMPARED]
            error = gaps.std(ddof=1) if len(gaps) > 1 else np.nan
            shown.append([f"{part} {name}", *first, *means, f"{gaps.mean():+.1f} ({error:.1f})"])
    heads = ["score", " own: fc", " logreg", " drawn: fc", " logreg", " points (deviation)"]
    title = f"{len(y_N):,} rows: the file's own split, and means over {args.splits} drawn ones"
    draw(Table(title, heads, shown), Console())


if __name__ == "__main__":
    sys.exit(exit_status(main))
