"""95 % confidence intervals of accuracy, of recall, and of a difference in accuracy, from predictions.

N: images. U: units, which are sampled independently: images, or groups of images. Nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from transfer.evaluation.shares import LEVEL, NORMAL_QUANTILE, Interval, jeffreys, tango, wilson
from transfer.metrics import Floats, Labels


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


def accuracy_interval(correct_N: npt.NDArray[np.bool_], units: Units) -> Interval:
    """Return Wilson's interval of the share of correct images.

    From 8 to 400 images its coverage is closer to 95 % than that of Jeffreys' interval, on average over shares from 0.5
    to 0.99, though less at worst (`bench/studies/exact_coverage.py`).

    Parameters
    ----------
    correct_N : (N,) bool
    units : Units

    Returns
    -------
    low, high : float
    """
    return wilson(float(correct_N.mean()), _effective_trials(correct_N, units), NORMAL_QUANTILE)


def _effective_trials(correct_N: npt.NDArray[np.bool_], units: Units) -> float:
    """Return the number of independent images whose share would vary as much as that of these.

    With groups it is that of Korn and Graubard 1998, from the jackknife over groups and reduced for the degrees of
    freedom, but no more than the images, and no fewer than if all images of a group were right or wrong together:
    groups are independent. Where all are right, or all wrong, groups show no variance, and images are taken as
    independent before the reduction.
    """
    n, share = len(correct_N), float(correct_N.mean())
    if units.code_N is None:
        return n
    reduction = (NORMAL_QUANTILE / units.critical) ** 2
    variance = units.jackknife_variance(_deletion_changes(correct_N.astype(np.float64) - share, units))
    binomial = share * (1 - share)
    found = reduction * binomial / max(variance, binomial * reduction / n) if binomial else n * reduction
    least = n**2 / (units.sum(np.ones(n)) ** 2).sum()
    return float(max(found, least))


def recall_intervals(
    y_N: Labels, predicted_N: Labels, n_classes: int, groups_N: npt.ArrayLike | None
) -> list[Interval | None]:
    """Return the Jeffreys interval of each class's recall.

    Most classes have few test images, and many a recall near 0 or 1: Wilson's covers less there. With groups, only
    those with images of the class count. A class in one group counts as one trial, since the similarity of the images
    of a group is unknown.

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
            intervals.append(
                jeffreys(float(correct_N[rows].mean()), _effective_trials(correct_N[rows], units))
            )
    return intervals


def accuracy_difference(y_N: Labels, a_N: Labels, b_N: Labels, units: Units) -> Estimate:
    """Estimate the accuracy of `a_N` minus that of `b_N`, on the same images.

    Over images Tango's score interval. Over groups a jackknife with t, with a variance of at least that of two images,
    one in favour of each.

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
    if units.code_N is None:
        interval = tango(int((gain_N > 0).sum()), int((gain_N < 0).sum()), n)
        return Estimate(value, float(gain_N.std() / n**0.5), interval)
    variance = units.jackknife_variance(_deletion_changes(gain_N - value, units)) + 2 / (n + 2) ** 2
    return symmetric(value, value, variance, units)


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
