"""95 % confidence intervals: of shares such as accuracy and recall, and of a difference in accuracy.

N: images. U: units, which are sampled independently: images, or groups of images. Everything is in closed form or a
jackknife over units; nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv
from scipy.stats import norm, t

from transfer.metrics import Floats, Labels

LEVEL = 0.95
NORMAL_QUANTILE = float(norm.ppf((1 + LEVEL) / 2))
# From so many trials on, Wilson's interval of a share near 1 covers closer to 95 % than Jeffreys', by the exact table
# of `bench/studies/coverage.py`; of fewer trials with a share near 0 or 1 it is the other way round.
MANY = 60
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error and 95 % interval."""

    value: float
    se: float
    ci95: Interval


@dataclass(frozen=True)
class Units:
    """The independent units of sampling: images, or groups of images.

    Attributes
    ----------
    code_N : (N,) int64 or None
        Unit of each image, from 0 to `count` - 1; None if each image is its own unit.
    count : int
    critical : float
        Quantile for the two-sided 95 % interval: normal for images, t with `count` - 1 degrees for groups.
    """

    code_N: Labels | None
    count: int
    critical: float

    @classmethod
    def of(cls, n_images: int, groups_N: npt.ArrayLike | None) -> Units:
        """Return the units of images.

        Parameters
        ----------
        n_images : int
        groups_N : (N,), optional
            Group of each image. If all are in one group, which has no observable variance, the units are images.

        Raises
        ------
        ValueError
            If the lengths differ.
        """
        if groups_N is not None:
            names, code_N = np.unique(np.asarray(groups_N), return_inverse=True)
            if len(code_N) != n_images:
                raise ValueError(f"groups_N has {len(code_N)} entries for {n_images} images")
            if len(names) > 1:
                return cls(code_N.astype(np.int64), len(names), _t_quantile(len(names) - 1))
        return cls(None, n_images, NORMAL_QUANTILE)

    def sum(self, values_N: Floats) -> Floats:
        """Sum the values of each unit's images: `(U,)`."""
        if self.code_N is None:
            return values_N
        return np.bincount(self.code_N, weights=values_N, minlength=self.count).astype(np.float64)

    def jackknife_variance(self, change_U: Floats) -> float:
        """Return the jackknife variance of a statistic (Efron and Tibshirani 1993, chapter 11).

        Parameters
        ----------
        change_U : (U,)
            Change of the statistic when each unit is deleted.
        """
        return float((self.count - 1) / self.count * (change_U**2).sum())


def wilson(share: float, n: float, critical: float) -> Interval:
    """Return Wilson's score interval (Wilson 1927) of a share of `n` independent trials.

    With an effective sample size, the share's binomial over its estimated variance, it is valid for any mean between 0
    and 1 (Franco et al. 2019, doi:10.1093/jssam/smy019).

    Parameters
    ----------
    share : float
    n : float
        Number of trials, not necessarily whole.
    critical : float
        Quantile of the normal or t distribution.

    Returns
    -------
    low, high : float
    """
    return score_interval(share, n, critical, share * (1 - share) / n, (1 - 2 * share) / n)


def score_interval(value: float, n: float, critical: float, variance: float, slope: float) -> Interval:
    """Return Wilson's interval of a mean between 0 and 1 whose variance rises by another slope than a share's.

    All truths whose squared distance from the value is at most the squared quantile times the variance there,
    `variance + slope * (truth - value) - (truth - value)^2 / n`. The slope is the third central moment over
    the variance, as in every exponential family (Barndorff-Nielsen 1978): by it the interval of a skewed estimate is
    longer on the side of the tail, as by the acceleration of Efron 1987 (doi:10.1080/01621459.1987.10478410).

    Parameters
    ----------
    value : float
    n : float
        Number of trials, not necessarily whole.
    critical : float
        Quantile of the normal or t distribution.
    variance : float
        That of the value.
    slope : float
        Derivative of the variance with respect to the truth.

    Returns
    -------
    low, high : float
    """
    square = critical**2
    centre = value + square * slope / 2 / (1 + square / n)
    half = critical / (1 + square / n) * np.sqrt(variance * (1 + square / n) + square * slope**2 / 4)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def jeffreys(share: float, n: float) -> Interval:
    """Return the Jeffreys interval of a share of `n` independent trials; it reaches the end if none or all succeed.

    Brown, Cai and DasGupta 2001 (doi:10.1214/ss/1009213286). For a few trials with a probability near 0 or 1 its
    coverage is better than that of Wilson's.

    Parameters
    ----------
    share : float
    n : float
        Number of trials, not necessarily whole.

    Returns
    -------
    low, high : float
    """
    tails = np.array([1 - LEVEL, 1 + LEVEL]) / 2
    low, high = betaincinv(n * share + 0.5, n * (1 - share) + 0.5, tails)
    return (0.0 if share == 0 else float(low), 1.0 if share == 1 else float(high))


def share_interval(correct_N: npt.NDArray[np.bool_], units: Units) -> Interval:
    """Return an interval of the share of correct images: accuracy, or recall of one class.

    Wilson's from `MANY` images on, else that of Jeffreys. With groups the sample size is the effective one, between one
    and the number of images, from the jackknife over groups, reduced for the degrees of freedom (Korn and Graubard
    1998).

    Parameters
    ----------
    correct_N : (N,) bool
    units : Units

    Returns
    -------
    low, high : float
    """
    n, share = len(correct_N), float(correct_N.mean())
    if units.code_N is None:
        return _interval(share, n)
    variance = units.jackknife_variance(_deletion_changes(correct_N.astype(np.float64) - share, units))
    binomial = share * (1 - share)
    effective = n if variance * n <= binomial else max(binomial / variance, 1.0)
    return _interval(share, effective * (NORMAL_QUANTILE / units.critical) ** 2)


def _interval(share: float, n: float) -> Interval:
    return jeffreys(share, n) if n < MANY else wilson(share, n, NORMAL_QUANTILE)


def recall_intervals(
    y_N: Labels, predicted_N: Labels, n_classes: int, groups_N: npt.ArrayLike | None
) -> list[Interval | None]:
    """Return an interval of each class's recall.

    With groups, only those with images of the class count. A class in one group counts as one trial, since the
    similarity of the images of a group is unknown.

    Parameters
    ----------
    y_N, predicted_N : (N,) int64
        Class indices.
    n_classes : int
    groups_N : (N,), optional
        Group of each image.

    Returns
    -------
    list of (low, high) or None
        None for a class without images.
    """
    correct_N = y_N == predicted_N
    groups = None if groups_N is None else np.asarray(groups_N)
    order = np.argsort(y_N, kind="stable")
    ends = np.bincount(y_N, minlength=n_classes).cumsum()
    intervals: list[Interval | None] = []
    for rows in np.split(order, ends[:-1]):
        units = Units.of(len(rows), None if groups is None else groups[rows])
        if not len(rows):
            intervals.append(None)
        elif groups is not None and units.code_N is None:
            intervals.append(jeffreys(float(correct_N[rows].mean()), 1))
        else:
            intervals.append(share_interval(correct_N[rows], units))
    return intervals


def accuracy_difference(y_N: Labels, a_N: Labels, b_N: Labels, units: Units) -> Estimate:
    """Estimate the accuracy of `a_N` minus that of `b_N`, on the same images.

    Over images the interval of Bonett and Price 2012 (doi:10.3102/1076998611411915): one image is added for each
    direction of disagreement. Over groups a jackknife with t, with a variance of at least that of the two images.

    Parameters
    ----------
    y_N, a_N, b_N : (N,) int64
        True class indices and the two predictions.
    units : Units

    Returns
    -------
    Estimate
    """
    gain_N = (a_N == y_N).astype(np.float64) - (b_N == y_N)
    n, value = len(y_N), float(gain_N.mean())
    added = 2 / (n + 2) ** 2
    if units.code_N is None:
        centre = gain_N.sum() / (n + 2)
        variance = ((gain_N**2).sum() + 2) / (n + 2) ** 2 - centre**2 / (n + 2)
    else:
        centre = value
        variance = units.jackknife_variance(_deletion_changes(gain_N - value, units)) + added
    return symmetric(value, float(centre), float(variance), units)


def _deletion_changes(residual_N: Floats, units: Units) -> Floats:
    """Return the change of a mean when each unit is deleted `(U,)`; `residual_N` are the values minus their mean."""
    size_U = units.sum(np.ones(len(residual_N)))
    return -units.sum(residual_N) / (len(residual_N) - size_U)


def symmetric(value: float, centre: float, variance: float, units: Units) -> Estimate:
    """Return an estimate of a difference of two shares, with a normal or t interval around `centre`.

    Parameters
    ----------
    value : float
        The estimate.
    centre : float
        Middle of the interval.
    variance : float
    units : Units

    Returns
    -------
    Estimate
    """
    half = units.critical * variance**0.5
    return Estimate(value, variance**0.5, (max(-1.0, centre - half), min(1.0, centre + half)))


def _t_quantile(degrees: int) -> float:
    return float(t.ppf((1 + LEVEL) / 2, degrees))
