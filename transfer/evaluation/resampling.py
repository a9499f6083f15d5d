"""Differences between methods over several splits of the same images, or groups left out in turn.

R: splits, or groups left out in turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from transfer.evaluation.shares import LEVEL, Interval

# Decimals of a difference: equal ones of different fractions differ by rounding, which is no variance.
ROUNDED = 9


def compare_splits(differences_R: npt.ArrayLike, test_share: float, train_share: float) -> dict[str, Any]:
    """Compare two methods by a corrected resampled t test on random splits of the same images.

    Splits share images, so their differences are correlated and the plain t test rejects far too often. The variance is
    multiplied by 1/R + n_test/n_train (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).

    Parameters
    ----------
    differences_R : (R,)
        Score of one method minus that of the other on each split.
    test_share, train_share : float
        Shares of the images that are tested and fitted on in each split. Images that only settings are chosen on
        count as neither.

    Returns
    -------
    dict
        `mean`, `ci95` and `p` (None for one split, and where all differences are equal), `won` (splits with a
        difference above zero), `tied` (at zero) and `lost`.
    """
    if not (0 < test_share < 1 and 0 < train_share <= 1 - test_share + 1e-9):
        raise ValueError(f"test_share={test_share}, train_share={train_share}, allowed: shares of one whole")
    values_R = np.asarray(differences_R, np.float64)
    return _summarize(values_R, 1 / len(values_R) + test_share / train_share)


def compare_groups(differences_R: npt.ArrayLike) -> dict[str, Any]:
    """Compare two methods by differences measured on each group in turn, with the other groups trained on.

    The mean is over groups of any size: what to expect on a new group. Groups are taken as drawn independently
    from one population. Training images are shared as in cross-validation, so the variance is corrected as in
    `compare_splits` with n_test/n_train = 1/(R - 1) (Bouckaert and Frank 2004, doi:10.1007/978-3-540-24775-3_3);
    without it 10 % of equal methods differ over 6 groups, at a level of 5 % (`bench/studies/coverage.py`).

    Parameters
    ----------
    differences_R : (R,)
        Score of one method minus that of the other on each group.

    Returns
    -------
    dict
        As `compare_splits`.
    """
    values_R = np.asarray(differences_R, np.float64)
    return _summarize(values_R, 1 / len(values_R) + 1 / max(len(values_R) - 1, 1))


def _summarize(values_R: npt.NDArray[np.float64], factor: float) -> dict[str, Any]:
    """Return mean, t interval and p; the variance between values times `factor` is that of their mean."""
    values_R = values_R.round(ROUNDED)
    mean, degrees = float(values_R.mean()), len(values_R) - 1
    ci95: Interval | None = None
    p = None
    if np.ptp(values_R):  # equal differences, as two splits may have by chance, say nothing of others
        se = float(values_R.std(ddof=1) * factor**0.5)
        half = float(t.ppf((1 + LEVEL) / 2, degrees)) * se
        ci95 = max(-1.0, mean - half), min(1.0, mean + half)
        p = 2 * float(t.sf(abs(mean) / se, degrees))
    return {
        "mean": mean,
        "ci95": None if ci95 is None else list(ci95),
        "p": p,
        "won": int((values_R > 0).sum()),
        "tied": int((values_R == 0).sum()),
        "lost": int((values_R < 0).sum()),
    }
