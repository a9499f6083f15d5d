"""Coverage of 95 % intervals by calculation: of a share, with fixed class counts, and of methods that rarely disagree.

Numbers of hits are whole, so that a share's coverage rises and falls with the truth, whatever the interval (Brown, Cai
and DasGupta 2001, doi:10.1214/ss/1009213286).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from scipy.stats import binom, norm, poisson

from bench.studies.simulated import SCENARIOS, SIZES, confusion_shares
from transfer.evaluation.shares import NORMAL_QUANTILE, jeffreys, wilson
from transfer.report.rendering import Table

SHARE_IMAGES: dict[str, Iterable[int]] = {
    **{str(n): [n] for n in (4, 8, 16, 30, 60, 100, int(SIZES.sum()))},
    "8 to 400": range(8, 401, 4),
}


def tables() -> list[Table]:
    """Return what `coverage.py` prints of this module."""
    return [_share_table(), _fixed_table(), _sign_table()]


def cover_shares(
    interval: Callable[[float, int], tuple[float, float]], n: int, truths: Iterable[float]
) -> list[float]:
    """Return the exact coverage of an interval of a share of `n` images, for each true share."""
    hits = np.arange(n + 1)
    low_N, high_N = np.array([interval(k / n, n) for k in hits]).T
    return [float(binom.pmf(hits, n, truth)[(low_N <= truth) & (truth <= high_N)].sum()) for truth in truths]


def cover_fixed_counts(scenario: str) -> float:
    """Return the coverage of accuracy if class counts are fixed, of an interval that covers 95 % if they are drawn.

    Both by the normal distribution: drawn counts add the variance between classes, which an interval that must hold
    for drawn images too can't leave out.
    """
    recall_C = np.diagonal(confusion_shares(scenario))
    accuracy = SIZES @ recall_C / SIZES.sum()
    ratio = accuracy * (1 - accuracy) * SIZES.sum() / (SIZES @ (recall_C * (1 - recall_C)))
    return float(2 * norm.cdf(NORMAL_QUANTILE * ratio**0.5) - 1)


def cover_signs(mean: float) -> float:
    """Return the least coverage of equal methods that differ on a Poisson number of images with that mean.

    Of any interval that covers 95 % whatever the number m of these images: whose answer is the better one is m throws
    of a coin, and of their 2^m equally likely results, which come in opposite pairs, at most 5 % may exclude zero.
    """
    m = np.arange(60)
    return 1 - float((poisson.pmf(m, mean) * np.floor(0.05 * 2.0 ** (m - 1)) / 2.0 ** (m - 1)).sum())


def _share_table() -> Table:
    lines = []
    for name, interval in (
        ("Wilson (accuracy)", partial(wilson, critical=NORMAL_QUANTILE)),
        ("Jeffreys (recall)", jeffreys),
    ):
        for title, images in SHARE_IMAGES.items():
            for low, high in ((0.5, 0.95), (0.95, 0.99)):
                shares = np.linspace(low, high, 201)
                covered = np.array([cover_shares(interval, n, shares) for n in images])
                shown = (covered.min(), covered.mean(), covered.max(), np.abs(covered - 0.95).mean())
                lines.append([name, title, f"{low:g}-{high:g}", *(f"{value:.1%}" for value in shown)])
    columns = [
        "interval",
        " images",
        "true share",
        " covered, least",
        " mean",
        " most",
        " mean distance from 95 %",
    ]
    return Table("A share, exactly", columns, lines)


def _fixed_table() -> Table:
    lines = [[scenario, f"{cover_fixed_counts(scenario):.1%}"] for scenario in SCENARIOS]
    title = "Accuracy with fixed class counts, if 95 % are covered with drawn ones, by calculation"
    return Table(title, ["scenario", " covered"], lines)


def _sign_table() -> Table:
    lines = [[str(mean), f"{cover_signs(mean):.1%}"] for mean in (2, 4, 6, 9, 12, 24)]
    title = "Equal methods, least coverage of an interval that holds for any number of disagreements, by calculation"
    return Table(title, ["images on which they disagree, on average", " covered, at least"], lines)
