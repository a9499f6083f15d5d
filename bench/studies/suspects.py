"""How many changed labels are among those to look at: `python -m bench.studies.suspects --features FILE.npz`.

Labels of a part of the images are changed at random; the check of `transfer run` ranks all images, several times over.

N: images. D: features. C: classes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.console import Console

from bench import features
from bench.reporting.status import exit_status
from transfer.evaluation.suspects import draw_folds, measure_margins, score_out_of_fold
from transfer.report.rendering import Table, draw

CHANGED, FIRST = 0.05, 24


def find_changed(x_ND: npt.NDArray[np.float32], y_N: npt.NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Change labels and rank all images; return the share of changed ones among the first.

    Returns
    -------
    float
        Among as many images as labels were changed.
    float
        Among the first `FIRST`.
    """
    rng, n_classes = np.random.default_rng(seed), y_N.max() + 1
    changed = rng.choice(len(y_N), round(CHANGED * len(y_N)), replace=False)
    labels_N = y_N.copy()
    labels_N[changed] = (y_N[changed] + rng.integers(1, n_classes, len(changed))) % n_classes
    fold_N = draw_folds(labels_N, np.arange(len(labels_N)), seed=seed)
    margin_N, _ = measure_margins(score_out_of_fold(x_ND, labels_N, fold_N), labels_N)
    order = np.argsort(-np.nan_to_num(margin_N, nan=-np.inf), kind="stable")
    hit_N = np.isin(order, changed)
    return float(hit_N[: len(changed)].mean()), float(hit_N[:FIRST].mean())


def tabulate(
    x_ND: npt.NDArray[np.float32], y_N: npt.NDArray[np.int64], sizes: Sequence[int], runs: int
) -> Table:
    """Return the shares found in several runs, the least and the most, for sets of several sizes."""
    rows = []
    for size in sizes:
        order = np.random.default_rng(0).permutation(len(y_N))[:size]
        found = np.array([find_changed(x_ND[order], y_N[order], seed) for seed in range(runs)])
        cells = [f"{low:.0%} to {high:.0%}" for low, high in zip(found.min(0), found.max(0), strict=True)]
        rows.append([f"{size:,}", *cells])
    title = f"Share of changed labels among the first images, {CHANGED:.0%} of all changed, {runs} times"
    return Table(title, [" images", " among as many as were changed", f" among the first {FIRST}"], rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.suspects", description=__doc__)
    features.add_argument(parser)
    parser.add_argument("--runs", type=int, default=6, help="(6)")
    args = parser.parse_args()
    rows = features.real(args.features)
    x_ND, y_N = rows.joined()
    draw(tabulate(x_ND, y_N, (1324, len(y_N)), args.runs), Console())


if __name__ == "__main__":
    sys.exit(exit_status(main))
