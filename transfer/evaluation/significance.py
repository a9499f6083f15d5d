"""Tests of whether two methods differ, and the differences that they could detect.

N: images. C: classes. U: units that are swapped as a whole: images, or groups of images. B: permutations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, binomtest

from transfer import metrics
from transfer.evaluation.intervals import Units
from transfer.metrics import Floats, Labels

PERMUTATIONS = 4_999
# Up to so many units all 2^U swaps are gone through, and p is exact.
ENUMERATED = 13
# Elements of the swaps and of their sums held at once: some arrays of 32 MB.
CHUNK = 4_000_000
# Sums of the same fractions in another order are equal.
ROUNDING = 1e-9


def mcnemar(y_N: Labels, a_N: Labels, b_N: Labels) -> float:
    """Return the two-sided p of the exact McNemar test (McNemar 1947) for equal accuracy.

    Only images that one of the two gets right and the other wrong count; under the hypothesis each is a fair coin.
    Images must be independent.

    Parameters
    ----------
    y_N, a_N, b_N : (N,) int64
        True class indices and the two predictions.

    Returns
    -------
    float
    """
    only_a = int(((a_N == y_N) & (b_N != y_N)).sum())
    only_b = int(((a_N != y_N) & (b_N == y_N)).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def permute_accuracy(y_N: Labels, a_N: Labels, b_N: Labels, units: Units, *, seed: int = 0) -> float:
    """Return the two-sided p of equal accuracy when the predictions of whole units are swapped at random.

    If units are images this is the exact McNemar test, which `mcnemar` computes without permutations.

    Parameters
    ----------
    y_N, a_N, b_N : (N,) int64
        True class indices and the two predictions.
    units : Units
    seed : int
        Of the permutations.

    Returns
    -------
    float
    """
    gain_U1 = units.sum((a_N == y_N).astype(np.float64) - (b_N == y_N))[:, None]
    return _swap_test(gain_U1, lambda swapped_B1: gain_U1.sum() - 2 * swapped_B1[:, 0], seed)


def permute_macro_f1(
    y_N: Labels, a_N: Labels, b_N: Labels, n_classes: int, units: Units, *, seed: int = 0
) -> float:
    """Return the two-sided p of equal macro F1: approximate randomization (Yeh 2000, aclanthology.org/C00-2137).

    Under the hypothesis the two predictions of a unit could be swapped. p counts the observed assignment as one
    of the permutations (Phipson and Smyth 2010), so it is never zero; with few units all swaps are enumerated.

    Parameters
    ----------
    y_N, a_N, b_N : (N,) int64
        True class indices and the two predictions.
    n_classes : int
    units : Units
    seed : int
        Of the permutations.

    Returns
    -------
    float
    """
    rows = np.flatnonzero(a_N != b_N)
    if not len(rows):
        return 1.0
    codes, unit_R = np.unique(rows if units.code_N is None else units.code_N[rows], return_inverse=True)
    shape = (len(codes), n_classes)
    # What a swap of each unit adds to the hits of `a` and to its predictions, for each class.
    hits_UC, predicted_UC = np.zeros(shape), np.zeros(shape)
    for labels_N, sign in ((a_N, -1), (b_N, 1)):
        hit = labels_N[rows] == y_N[rows]
        np.add.at(hits_UC, (unit_R[hit], y_N[rows][hit]), sign)
        np.add.at(predicted_UC, (unit_R, labels_N[rows]), sign)
    counts_a, counts_b = (metrics.confusion(y_N, labels_N, n_classes) for labels_N in (a_N, b_N))
    hits_a, hits_b = np.diagonal(counts_a), np.diagonal(counts_b)
    true_C, predicted_a, predicted_b = counts_a.sum(1), counts_a.sum(0), counts_b.sum(0)

    def difference(changes_BK: Floats) -> Floats:
        hits_BC, predicted_BC = np.split(changes_BK, 2, axis=1)
        return metrics.mean_f1(hits_a + hits_BC, true_C + predicted_a + predicted_BC) - metrics.mean_f1(
            hits_b - hits_BC, true_C + predicted_b - predicted_BC
        )

    return _swap_test(np.hstack([hits_UC, predicted_UC]), difference, seed)


def _swap_test(change_UK: Floats, statistic: Callable[[Floats], Floats], seed: int) -> float:
    """Return the two-sided p of a statistic of the sums `(B, K)` of `change_UK` over the units that are swapped."""
    change_UK = change_UK[(change_UK != 0).any(1)]
    units = len(change_UK)
    observed = abs(float(statistic(np.zeros((1, change_UK.shape[1])))[0])) - ROUNDING
    exact = units <= ENUMERATED
    n = 2**units if exact else PERMUTATIONS
    rng = np.random.default_rng(seed)
    small_UK = change_UK.astype(np.float32)  # whole numbers, exact in float32
    extreme, step = 0, max(1, CHUNK // max(1, *change_UK.shape))
    for start in range(0, n, step):
        count = min(step, n - start)
        bits: npt.NDArray[np.integer]
        if exact:
            bits = np.arange(start, start + count)[:, None] >> np.arange(units) & 1
        else:
            bits = np.unpackbits(rng.integers(0, 256, (count, -(-units // 8)), np.uint8), axis=1)[:, :units]
        sums_BK = (bits.astype(np.float32) @ small_UK).astype(np.float64)
        extreme += int((np.abs(statistic(sums_BK)) >= observed).sum())
    return extreme / n if exact else (extreme + 1) / (n + 1)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number (Holm 1979): the chance of any false finding stays below the level.

    Parameters
    ----------
    p_values : sequence of float

    Returns
    -------
    list of float
        In the same order.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def detectable_difference(n_images: int, discordant_share: float, power: float, alpha: float) -> float | None:
    """Return the smallest difference in accuracy that the exact McNemar test detects with the given power.

    Parameters
    ----------
    n_images : int
        Test images, independent.
    discordant_share : float
        Share of images that exactly one of the two methods gets right.
    power, alpha : float
        Probability of p < `alpha` if the difference is the returned one.

    Returns
    -------
    float or None
        None if even the largest difference that this share allows is not detected.

    Notes
    -----
    The number of discordant images is binomial, and given it the test is binomial (Miettinen 1968); its power is
    summed over both. The normal approximation of Connor 1987 (doi:10.2307/2531961) is a little smaller.
    """
    if not 0 <= discordant_share <= 1:
        raise ValueError(f"discordant_share={discordant_share}, allowed: 0 to 1")
    low, high = binom.ppf((1e-9, 1 - 1e-9), n_images, discordant_share)
    discordant = np.arange(low, high + 1)
    chance = binom.pmf(discordant, n_images, discordant_share)
    critical = _largest_rejected(discordant, alpha)

    def power_at(difference: float) -> float:
        p = (1 + difference / discordant_share) / 2
        rejected = binom.cdf(critical, discordant, p) + binom.sf(discordant - critical - 1, discordant, p)
        return float((chance * np.where(critical < 0, 0, rejected)).sum())

    if discordant_share == 0 or power_at(discordant_share) < power:
        return None
    if power_at(0.0) >= power:
        return 0.0
    return float(brentq(lambda difference: power_at(difference) - power, 0.0, discordant_share, xtol=1e-5))


def _largest_rejected(trials: npt.NDArray[np.float64], alpha: float) -> npt.NDArray[np.float64]:
    """Return the largest lower-tail count of each number of fair trials with two-sided p below `alpha`, or -1."""
    count = binom.ppf(alpha / 2, trials, 0.5)
    below = np.where(2 * binom.cdf(count, trials, 0.5) < alpha, count, count - 1)
    return np.asarray(np.maximum(below, -1), np.float64)
