"""Scores against the number of training images: an inverse power law, fitted and extended.

P: points of a curve. K: draws. B: curves that are fitted at once. G: exponents that are tried.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Three numbers are fitted; a fourth point shows whether they fit.
LEAST_POINTS = 4
# Scores are extended to so many times the training images.
FACTOR = 2
EXPONENTS_G = np.geomspace(0.05, 3, 200)
# A smaller gain is none: rounding leaves as much where all scores are equal.
LEAST_GAIN = 1e-6
RESAMPLES, COVERED = 1000, 0.95
TOO_FEW_POINTS = f"too few points: a power law needs {LEAST_POINTS} sizes of the training set"
NO_RISE = "the score does not rise with the number of labels"


def extrapolate(images_P: npt.ArrayLike, draws_PK: list[list[float]], *, seed: int = 0) -> dict[str, Any]:
    """Extend a score to twice the training images.

    Cortes et al. (1993, Learning curves: asymptotic values and rate of convergence) describe the error by an inverse
    power law; as Figueroa et al. (2012, doi 10.1186/1472-6947-12-8) do, the score `a - b * images**-c` is fitted to the
    means over draws with weights that rise linearly from the smallest size to the largest.

    The range is the central 95 % of what other fits say of one training set of that size, and no confidence interval:
    draws are drawn again with replacement, some of the smallest sizes are left out, since a power law may hold for
    larger ones only, and both the last point and the new one are moved by the standard deviation of the draws of the
    size before, times values of Student's t. It always holds the fit itself. The chance in the test split, and whether
    the curve goes on so, are left out.

    Parameters
    ----------
    images_P : (P,) int
        Training images of each point, ascending; the last is the whole training split.
    draws_PK : list of list of float
        Scores from 0 to 1 of the draws of each point; the last point has one.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `reason`, why nothing is extrapolated, or None. Else `images`, twice those of the last point; `gain`, the
        fitted score there minus the score that was measured at the last point, and its `range`; `a`, `b`, `c`; and
        `without_last`, what a fit without the last point predicts for it (None with too few points for that).
    """
    images_P = np.asarray(images_P, np.float64)
    if len(images_P) < LEAST_POINTS:
        return {"reason": TOO_FEW_POINTS}
    mean_P = np.array([np.mean(scores) for scores in draws_PK])
    twice, measured = float(FACTOR * images_P[-1]), draws_PK[-1][0]
    a, b, c = (float(values_B[0]) for values_B in _fit(images_P, mean_P[None]))
    expected = a - b * twice**-c
    if expected - (a - b * images_P[-1] ** -c) < LEAST_GAIN:
        return {"reason": NO_RISE}
    tail = (1 - COVERED) / 2
    low, high = np.quantile(_resample(images_P, draws_PK, twice, seed), (tail, 1 - tail))
    without_last = None
    if len(images_P) > LEAST_POINTS:
        a_B, b_B, c_B = _fit(images_P[:-1], mean_P[None, :-1])
        without_last = float((a_B - b_B * images_P[-1] ** -c_B)[0])
    return {
        "reason": None,
        "images": int(twice),
        "gain": expected - measured,
        "range": [float(min(low, expected) - measured), float(max(high, expected) - measured)],
        "a": a,
        "b": b,
        "c": c,
        "without_last": without_last,
    }


def _resample(images_P: Floats, draws_PK: list[list[float]], images: float, seed: int) -> Floats:
    """Return the scores at a number of images of `RESAMPLES` fits to draws that were drawn again."""
    rng = np.random.default_rng(seed)
    drawn_PK = np.array(draws_PK[:-1])
    n_draws = drawn_PK.shape[1]
    # A draw's larger sets hold its smaller ones, so draws are taken whole.
    chosen_BK = rng.integers(0, n_draws, (RESAMPLES, n_draws))
    # By t: two or three draws that happen to be alike would seem to be sure.
    moved_B2 = drawn_PK[-1].std(ddof=1) * rng.standard_t(n_draws - 1, (RESAMPLES, 2))
    means_BP = np.column_stack(
        [drawn_PK.T[chosen_BK].mean(1), np.clip(draws_PK[-1][0] + moved_B2[:, 0], 0, 1)]
    )
    starts = range(len(images_P) - LEAST_POINTS + 1)
    scores_B = np.empty(RESAMPLES)
    for start in starts:
        part = slice(start, None, len(starts))
        a_B, b_B, c_B = _fit(images_P[start:], means_BP[part, start:])
        scores_B[part] = a_B - b_B * images**-c_B
    moved_B: Floats = np.clip(scores_B + moved_B2[:, 1], 0, 1)
    return moved_B


def _fit(images_P: Floats, scores_BP: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit `a - b * images**-c` by weighted least squares with `a` at most 1 and `b` at least 0.

    For a given exponent the other two follow in closed form, so no starting values are needed.

    Returns
    -------
    a, b, c : (B,)
    """
    weights_P = np.arange(1, len(images_P) + 1) / len(images_P)
    weights_P /= weights_P.sum()
    last = images_P[-1]
    t_GP = (images_P / last) ** -EXPONENTS_G[:, None]
    t_G, score_B = t_GP @ weights_P, scores_BP @ weights_P
    away_GP = t_GP - t_G[:, None]
    b_BG = -(scores_BP * weights_P) @ away_GP.T / (away_GP**2 @ weights_P)
    b_BG = np.maximum(b_BG, 0)
    a_BG = score_B[:, None] + b_BG * t_G
    # Where the limit would be above 1, it is 1, and b alone is fitted.
    at_limit_BG = ((1 - scores_BP) * weights_P) @ t_GP.T / (t_GP**2 @ weights_P)
    b_BG, a_BG = np.where(a_BG > 1, at_limit_BG, b_BG), np.minimum(a_BG, 1)
    error_BGP = scores_BP[:, None] - a_BG[..., None] + b_BG[..., None] * t_GP
    best_B = ((error_BGP**2) @ weights_P).argmin(1)
    rows = np.arange(len(scores_BP))
    c_B = EXPONENTS_G[best_B]
    return a_BG[rows, best_B], b_BG[rows, best_B] * last**c_B, c_B
