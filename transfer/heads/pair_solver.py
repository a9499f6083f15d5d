"""Coefficients of the machines for all pairs of classes, found by scikit-learn's libsvm on a kernel.

N: training rows, class after class. C: classes. B: rows of a class. K: C - 1. P: pairs of classes. R: settings.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.svm import SVC
from sklearn.utils import compute_class_weight

from transfer.heads.one_vs_one import Machines
from transfer.heads.threads import pool_of_cores

Array = npt.NDArray[Any]

# Rows of a class up to which libsvm does not set aside those that it thinks are done: of few rows this
# takes longer than it saves, and the solutions are the same.
SMALL_CLASS = 50
# All coefficients are at their bounds where the values of two classes differ by at most 2; libsvm may end 0.001 before
# that, so this is a little less.
AT_BOUNDS = 1.99


def solve(kernel_NN: Array, y_N: Array, C: float, class_weight: Any) -> tuple[Machines, float]:
    """Return the machines of one setting, and the seconds that libsvm took.

    Parameters
    ----------
    kernel_NN : (N, N)
    y_N : (N,)
        Labels; rows of a class are contiguous.
    C, class_weight
        As in `sklearn.svm.SVC`.
    """
    start = time.perf_counter()
    classes, counts_C = np.unique(y_N, return_counts=True)
    svc = SVC(
        kernel="precomputed", C=C, class_weight=class_weight, shrinking=len(y_N) > SMALL_CLASS * len(classes)
    )
    with sklearn.config_context(assume_finite=True):  # the rows were checked; this saves a tenth
        svc.fit(kernel_NN, y_N)
    # Of two classes scikit-learn turns libsvm's signs round.
    sign = -1 if len(classes) == 2 else 1
    if len(svc.support_) == len(y_N):  # without a copy
        dual_KN = svc.dual_coef_
    else:
        dual_KN = np.zeros((len(classes) - 1, len(y_N)))
        dual_KN[:, svc.support_] = svc.dual_coef_
    return Machines(
        dual_KN if sign > 0 else -dual_KN, sign * svc.intercept_, counts_C
    ), time.perf_counter() - start


def solve_settings(
    kernel_NN: Array, y_N: Array, settings: Sequence[tuple[float, Any]], free: list[Machines]
) -> list[tuple[Machines, float]]:
    """Return the machines of several C and class weights for one kernel, and the seconds that each setting took.

    A solution with coefficients well below the bounds that C sets is the solution of all settings with larger
    bounds too: they get the same object, and the first of them its seconds. So the largest bounds are solved first, and
    the others together. Where the bounds are so small that all coefficients reach them, nothing is solved.

    Parameters
    ----------
    kernel_NN : (N, N)
    y_N : (N,)
        Labels; rows of a class are contiguous.
    settings : sequence of (C, class_weight)
    free : list of Machines
        Such shared solutions of earlier calls; new ones are appended.

    Returns
    -------
    list of (Machines, float)
    """
    bounds_RC = np.stack([bounds(y_N, *setting) for setting in settings])
    counts_C = np.unique(y_N, return_counts=True)[1]
    results = {r: own for r, own in enumerate(_at_bounds(kernel_NN, counts_C, bounds_RC)) if own}
    order = [r for r in bounds_RC.min(1).argsort(kind="stable")[::-1] if r not in results]
    solved: dict[int, Future[tuple[Machines, float]]] = {}
    with pool_of_cores(len(order)) as pool:  # libsvm lets go of the interpreter while it solves
        for r in order:
            if any(machines.within(bounds_RC[r]) for machines in free):
                continue
            solved[r] = pool.submit(solve, kernel_NN, y_N, *settings[r])
            if r == order[0] and (machines := solved[r].result()[0]).within(bounds_RC[r]):
                free.append(machines)
    for r in order:
        shared = [(machines, 0.0) for machines in free if machines.within(bounds_RC[r])]
        machines, fit_s = solved[r].result() if r in solved else shared[0]
        results[r] = (shared[0][0] if shared else machines), fit_s
    return [results[r] for r in range(len(settings))]


def _at_bounds(
    kernel_NN: Array, counts_C: Array, bounds_RC: Array
) -> Iterator[tuple[Machines, float] | None]:
    """Yield for each setting (R, C) the machines whose coefficients all are at their bounds, if these solve it.

    That is looked for only where classes have equally many rows and equal bounds, as with few images of each: elsewhere
    rounding decides whether a coefficient is at its bound, and libsvm's intercept depends on it.
    """
    start, reach_CC = time.perf_counter(), None
    n_classes, n_rows = len(counts_C), len(kernel_NN)
    for bounds_C in bounds_RC:
        if np.ptp(counts_C) or np.ptp(bounds_C):
            yield None
            continue
        if reach_CC is None:
            reach_CC = _reach(kernel_NN, n_classes)
        if bounds_C[0] * (reach_CC + reach_CC.T).max() > AT_BOUNDS:
            yield None
            continue
        first_KN = np.arange(n_classes - 1)[:, None] >= np.arange(n_rows) // counts_C[0]
        middle_CC = bounds_C[0] * (reach_CC.T - reach_CC) / 2
        machines = Machines(
            np.where(first_KN, bounds_C[0], -bounds_C[0]), middle_CC[np.triu_indices(n_classes, 1)], counts_C
        )
        yield machines, time.perf_counter() - start
        start = time.perf_counter()


def _reach(kernel_NN: Array, n_classes: int) -> Array:
    """Return how much more kernel values with its own class add up to than those with another (C, C).

    Of the row of a class for which it is most; all classes have equally many rows.
    """
    size = len(kernel_NN) // n_classes
    reach_CC = np.empty((n_classes, n_classes))
    for c in range(n_classes):
        sums_BC = kernel_NN[c * size : (c + 1) * size].reshape(size, n_classes, size).sum(2)
        reach_CC[c] = (sums_BC[:, c : c + 1] - sums_BC).max(0)
    return reach_CC


def bounds(y_N: Array, C: float, class_weight: Any) -> Array:
    """Return the upper bound of the coefficients of each class (C,)."""
    upper_C: Array = C * compute_class_weight(class_weight, classes=np.unique(y_N), y=y_N)
    return upper_C
