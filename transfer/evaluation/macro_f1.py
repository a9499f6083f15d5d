"""95 % confidence intervals of macro F1 and of a difference in macro F1.

N: images. C: classes that are true or predicted anywhere. U: units, which are sampled independently (see `Units`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transfer import metrics
from transfer.evaluation.intervals import Estimate, Units, symmetric
from transfer.evaluation.shares import score_interval, wilson
from transfer.metrics import Floats, Labels

# Hits, and misses, added to the counts of all classes together: Jeffreys' half. Chosen by coverage over all scenarios
# of `bench/studies/coverage.py`; with 1 the interval is too wide where all is right, without it there is none.
ADDED = 0.5


@dataclass(frozen=True)
class _SmoothedF1:
    """F1 of each class that occurs, from slightly enlarged counts, and its change when units are deleted.

    A class without a hit, or without a miss, would have no variance; so `ADDED` hits and as many misses are
    spread evenly over the classes. They affect variance and bias only, not the estimate.
    """

    f1_C: Floats
    hits_C: Floats
    occurrences_C: Floats
    added: float
    change_U: Floats
    true_C: npt.NDArray[np.bool_]
    """Which of these classes have images."""
    strays_C: Labels
    """Of all classes, how often one without images is predicted."""

    @property
    def bias(self) -> float:
        """Bias of macro F1: of second order in the counts, as independent Poisson numbers.

        F1 = 2h / (2h + m) for h hits and m misses has the bias -F1 (1 - F1) / (2h + m), here enlarged by
        u / (u - 1) for u = h + m, since F1 (1 - F1) is itself estimated from as many images.
        """
        union_C = self.occurrences_C - self.hits_C
        factor_C = union_C / np.maximum(union_C - 1, 0.5)
        return -float((factor_C * self.f1_C * (1 - self.f1_C) / self.occurrences_C).mean())

    @property
    def slope_of_hit_C(self) -> Floats:
        """Derivative of macro F1 with respect to a hit of each class."""
        return 2 * (1 - self.f1_C) / self.occurrences_C / len(self.f1_C)

    @property
    def slope_of_miss_C(self) -> Floats:
        """Derivative of macro F1 with respect to a miss of each class, for which any class is predicted as often."""
        own_C = -self.f1_C / self.occurrences_C / len(self.f1_C)
        slope_C: Floats = own_C + own_C.mean()
        return slope_C


def macro_f1_interval(y_N: Labels, predicted_N: Labels, n_classes: int, units: Units) -> Estimate:
    """Estimate macro F1 with its standard error and interval.

    Jackknife over units; bias removed to second order; Wilson interval with the effective sample size. The delta method
    for macro F1 is that of Takahashi et al. 2022 (doi:10.1007/s10489-021-02635-5). Percentile bootstraps are
    much too low: macro F1 is biased, and every resample is biased once more. Where hits are few in many classes, the
    next hit adds more variance than Wilson's binomial has: there the jackknife's third moment says how much, over
    images; a few groups cannot. Coverage: `bench/studies/coverage.py`.

    Parameters
    ----------
    y_N, predicted_N : (N,) int64
        Class indices.
    n_classes : int
    units : Units

    Returns
    -------
    Estimate
    """
    value = metrics.score(y_N, predicted_N, n_classes)["macro_f1"]
    smooth = _smooth_f1(y_N, predicted_N, n_classes, units)
    slopes_2C = np.stack([smooth.slope_of_hit_C, smooth.slope_of_miss_C])
    variance = units.jackknife_variance(smooth.change_U) + smooth.added * float((slopes_2C**2).sum())
    third_moment = smooth.added * float((slopes_2C**3).sum()) - float((smooth.change_U**3).sum())
    middle = float(smooth.f1_C.mean())
    effective = max(middle * (1 - middle) / variance, 1.0)
    corrected = min(max(value - smooth.bias, 0.0), 1.0)
    if third_moment > 0 and units.code_N is None:
        low, high = score_interval(corrected, effective, units.critical, variance, third_moment / variance)
    else:
        low, high = wilson(corrected, effective, units.critical)
    # Without bias a value of 0 may lie below its interval by a little, and would seem impossible.
    return Estimate(value, variance**0.5, (min(low, value), max(high, value)))


def macro_f1_difference(y_N: Labels, a_N: Labels, b_N: Labels, n_classes: int, units: Units) -> Estimate:
    """Estimate macro F1 of `a_N` minus that of `b_N`, on the same images.

    Paired jackknife, as in `macro_f1_interval`. The added images are ones that one of the two gets right and the other
    wrong. Over images the interval is that of a score, as Tango's of accuracies is: further from the estimate more
    images must differ than did, so that the variance is larger. With the mean change s of the difference by one such
    image, and the variance v here, it is taken as sqrt(v^2 + (s d)^2) at a distance of d; where nothing differs, d at
    the bound is that of a Poisson number.

    Parameters
    ----------
    y_N, a_N, b_N : (N,) int64
        True class indices and the two predictions.
    n_classes : int
    units : Units

    Returns
    -------
    Estimate
    """
    one, other = (metrics.score(y_N, labels_N, n_classes)["macro_f1"] for labels_N in (a_N, b_N))
    value = one - other
    a, b = (_smooth_f1(y_N, labels_N, n_classes, units) for labels_N in (a_N, b_N))
    only_a_C = a.slope_of_hit_C[a.true_C] - b.slope_of_miss_C[b.true_C]
    only_b_C = b.slope_of_hit_C[b.true_C] - a.slope_of_miss_C[a.true_C]
    added = ADDED * float((only_a_C**2 + only_b_C**2).mean())
    variance = units.jackknife_variance(a.change_U - b.change_U) + added
    centre = value - (a.bias - b.bias)
    if units.code_N is not None:
        return symmetric(value, centre, variance, units)
    variance += _entering_variance(a, b)
    n_C = np.bincount(y_N)
    step = units.critical * float(n_C[n_C > 0] @ (only_a_C + only_b_C) / (2 * len(y_N)))
    at_bound = (step**2 + (step**4 + 4 * variance**2) ** 0.5) / 2
    return symmetric(value, centre, at_bound, units)


def _entering_variance(a: _SmoothedF1, b: _SmoothedF1) -> float:
    """Return the variance of a difference by classes without images, which are in the mean only if predicted.

    Each method is taken to predict such a class as often as the two do on average, by independent Poisson numbers.
    """
    absent_C = np.exp(-(a.strays_C + b.strays_C) / 2)
    by_one_class = sum((one.f1_C.mean() / len(one.f1_C)) ** 2 for one in (a, b))
    return float((absent_C * (1 - absent_C)).sum() * by_one_class)


def _smooth_f1(y_N: Labels, predicted_N: Labels, n_classes: int, units: Units) -> _SmoothedF1:
    hit_N = y_N == predicted_N
    true_C = np.bincount(y_N, minlength=n_classes)
    # A hit occurs twice, as an image of the class and as one predicted; a miss once, in each of two classes.
    either_C = true_C + np.bincount(predicted_N, minlength=n_classes)
    present_C = either_C > 0
    n_present = int(present_C.sum())
    added = ADDED / n_present
    hits_C = (np.bincount(y_N[hit_N], minlength=n_classes) + added).astype(np.float64)
    # Of an absent class F1 is 0, and is not used.
    occurrences_C = np.where(present_C, either_C + 4 * added, np.inf)
    f1_C = 2 * hits_C / occurrences_C
    if units.code_N is None:
        # Deleting an image changes its true class and the predicted one alone.
        without_hit_C = 2 * (hits_C - 1) / np.maximum(occurrences_C - 2, added) - f1_C
        without_miss_C = 2 * hits_C / (occurrences_C - 1) - f1_C
        change_N = np.where(hit_N, without_hit_C[y_N], without_miss_C[y_N] + without_miss_C[predicted_N])
        change_U = change_N / n_present
    else:
        shape = (units.count, n_classes)
        true_U, predicted_U = (units.code_N * n_classes + labels_N for labels_N in (y_N, predicted_N))
        size = units.count * n_classes
        own_hits_UC = np.bincount(true_U[hit_N], minlength=size).reshape(shape)
        own_UC = (np.bincount(true_U, minlength=size) + np.bincount(predicted_U, minlength=size)).reshape(
            shape
        )
        without_UC = 2 * (hits_C - own_hits_UC) / (occurrences_C - own_UC)
        # A class that occurs in the deleted group alone leaves the mean: by the counts that were added to it, deleting
        # the group would take its F1 to 2/3.
        left_UC = own_UC < either_C
        change_U = np.where(left_UC, without_UC, 0).sum(1) / left_UC.sum(1) - f1_C[present_C].mean()
    return _SmoothedF1(
        f1_C=f1_C[present_C],
        hits_C=hits_C[present_C],
        occurrences_C=occurrences_C[present_C],
        added=added,
        change_U=change_U,
        true_C=true_C[present_C] > 0,
        strays_C=np.where(true_C, 0, either_C),
    )
