"""What twice the labels bring, and what was extrapolated: `python -m bench.studies.doubling --features FILE.npz`.

A half of the training images is drawn several times. `transfer curve` extrapolates from it to twice as many; the whole
shows what they bring.

N: images. D: features.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from bench import features
from bench.reporting.status import exit_status
from transfer.config import SCORE_NAMES, RunConfig
from transfer.evaluation.extrapolation import extrapolate
from transfer.evaluation.learning_curve import draw_points
from transfer.evaluation.repeats import score_splits
from transfer.heads.registry import METHODS
from transfer.report.rendering import Table, draw

WHOLE, VALID, DRAWS = 1600, 400, 5


def compare_doubling(
    method: str, x_ND: npt.NDArray[np.float32], y_N: npt.NDArray[np.int64], seed: int
) -> dict[str, dict[str, Any]]:
    """Extrapolate from half of the training images, and fit to all of them.

    Returns
    -------
    dict of str to dict
        By score: what was `extrapolated` and `measured`, and whether the range `held` that; scores that could not be
        extrapolated are left out.
    """
    n_classes = int(y_N.max()) + 1
    order = np.random.default_rng(seed).permutation(len(y_N))
    whole, valid, test = order[:WHOLE], order[WHOLE : WHOLE + VALID], order[WHOLE + VALID :]
    half = whole[: WHOLE // 2]
    search = METHODS[method].build(RunConfig(data="features", device="cpu"))
    points = draw_points(y_N[half], n_classes, DRAWS, seed=seed)
    splits = [(half[rows_N], valid, test) for point in points for rows_N in point.draws]
    scored = score_splits(search, x_ND, y_N, [*splits, (whole, valid, test)], n_classes)
    ends = np.cumsum([len(point.draws) for point in points])[:-1]
    found = {}
    for score in SCORE_NAMES:
        *halves, reached = scored[score]
        draws = [list(own) for own in np.split(np.array(halves), ends)]
        said = extrapolate([len(point.draws[0]) for point in points], draws, seed=seed)
        if not said["reason"]:
            gain, (low, high) = reached - draws[-1][0], said["range"]
            found[score] = {"extrapolated": said["gain"], "measured": gain, "held": low <= gain <= high}
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.doubling", description=__doc__)
    features.add_argument(parser)
    parser.add_argument("--method", choices=METHODS, default="ridge", help="(ridge)")
    parser.add_argument("--runs", type=int, default=12, help="(12)")
    args = parser.parse_args()
    rows = features.real(args.features)
    x_ND, y_N = rows.joined()
    runs = [compare_doubling(args.method, x_ND, y_N, seed) for seed in range(args.runs)]
    shown = []
    for score in SCORE_NAMES:
        own = [run[score] for run in runs if score in run]
        means = [f"{100 * np.mean([one[key] for one in own]):+.1f}" for key in ("extrapolated", "measured")]
        shown.append([score, str(len(own)), *means, f"{sum(one['held'] for one in own)} of {len(own)}"])
    title = f"{args.method}: points that twice {WHOLE // 2} training images bring, means"
    draw(Table(title, ["score", " runs", " extrapolated", " measured", " range held"], shown), Console())


if __name__ == "__main__":
    sys.exit(exit_status(main))
