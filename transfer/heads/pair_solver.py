"""Coefficients of the machines for all pairs of classes, found by scikit-learn's libsvm on a kernel.

N: training rows, class after class. C: classes. B: rows of a class. K: C - 1. P: pairs of classes. R: settings.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.svm import SVC
from sklearn.utils import compute_class_weight

from transfer.heads.one_vs_one import PackedMachines, PairMachines
from transfer.heads.threads import pool_of_cores

Array = npt.NDArray[Any]
AnyMachines = PairMachines | PackedMachines

# Rows of a class up to which libsvm does not set aside those that it thinks are done: of few rows this
# takes longer than it saves, and the solutions are the same.
SMALL_CLASS = 50
# From so many classes on, pairs are solved group by group: with few rows each, what libsvm holds of all pairs is of the
# size of the kernel.
MANY_CLASSES = 512
# All coefficients are at their bounds where the values of two classes differ by at most 2; libsvm may end 0.001 before
# that, so this is a little less.
AT_BOUNDS = 1.99


def solve(kernel_NN: Array, y_N: Array, C: float, class_weight: Any) -> tuple[PairMachines, float]:
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
    counts_C = np.unique(y_N, return_counts=True)[1]
    n_classes, n_rows = len(counts_C), len(y_N)
    codes_N = np.repeat(np.arange(n_classes), counts_C)
    weight_C = bounds(y_N, 1, class_weight)
    dual_KN = np.zeros((n_classes - 1, n_rows))
    intercept_P = np.empty(n_classes * (n_classes - 1) // 2)
    # Columns are gathered as many at a time as every class has a multiple of.
    width = int(np.gcd.reduce(counts_C))

    def solve_group(classes_G: Array) -> None:
        rows_B, own_BB, whole = np.arange(n_rows), kernel_NN, len(classes_G) == n_classes
        if not whole:
            rows_B = np.flatnonzero(np.isin(codes_N, classes_G))
            wide = kernel_NN.view(f"V{width * kernel_NN.itemsize}")
            places_BW = rows_B[:, None] * wide.shape[1] + rows_B[::width] // width
            own_BB = wide.ravel().take(places_BW).view(kernel_NN.dtype)
        svc = SVC(
            kernel="precomputed",
            C=C,
            class_weight={c: weight_C[c] for c in classes_G},
            shrinking=n_rows > SMALL_CLASS * n_classes,
        )
        with sklearn.config_context(assume_finite=True):  # the rows were checked; this saves a tenth
            svc.fit(own_BB, codes_N[rows_B])
        # Of two classes scikit-learn turns libsvm's signs round.
        sign = -1 if len(classes_G) == 2 else 1
        i_Q, j_Q = (classes_G[own_Q] for own_Q in np.triu_indices(len(classes_G), 1))
        intercept_P[i_Q * (2 * n_classes - i_Q - 1) // 2 + j_Q - i_Q - 1] = sign * svc.intercept_
        support_V = rows_B[svc.support_]
        # A row has no coefficient for its own class: those of classes after it come one place earlier.
        places: Any = slice(None)
        if not whole:
            after_KV = np.arange(len(classes_G) - 1)[:, None] >= np.searchsorted(
                classes_G, codes_N[support_V]
            )
            places = np.where(after_KV, classes_G[1:, None] - 1, classes_G[:-1, None])
        dual_KN[places, support_V] = sign * svc.dual_coef_

    groups = groups_of_classes(n_classes)
    with pool_of_cores(len(groups)) as pool:  # libsvm lets go of the interpreter while it solves
        list(pool.map(solve_group, groups))
    return PairMachines(dual_KN, intercept_P, counts_C), time.perf_counter() - start


def groups_of_classes(n_classes: int) -> list[Array]:
    """Return groups of classes (ascending) such that every pair of classes is in exactly one of them.

    libsvm takes memory for all pairs at once, and finds the kernel of a small group in the cache: many classes are
    points of a plane over a prime field, with a number of rows and columns, and the groups are its lines.
    """
    if n_classes < MANY_CLASSES:
        return [np.arange(n_classes)]
    side = next(n for n in range(math.isqrt(n_classes - 1) + 1, 2 * n_classes) if _is_prime(n))
    column_C, row_C = np.divmod(np.arange(n_classes), side)
    lines = [np.flatnonzero(column_C == column) for column in range(column_C[-1] + 1)]
    for slope in range(side):
        start_C = (row_C - slope * column_C) % side
        lines += [np.flatnonzero(start_C == start) for start in range(side)]
    return [line for line in lines if len(line) > 1]


def _is_prime(n: int) -> bool:
    return all(n % factor for factor in range(2, math.isqrt(n) + 1))


def solve_settings(
    kernel_NN: Array, y_N: Array, settings: Sequence[tuple[float, Any]], free: list[PairMachines]
) -> list[tuple[AnyMachines, float]]:
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
    free : list of PairMachines
        Such shared solutions of earlier calls; new ones are appended.

    Returns
    -------
    list of (PairMachines or PackedMachines, float)
    """
    bounds_RC = np.stack([bounds(y_N, *setting) for setting in settings])
    counts_C = np.unique(y_N, return_counts=True)[1]
    results = {r: own for r, own in enumerate(_at_bounds(kernel_NN, counts_C, bounds_RC)) if own}
    order = [r for r in bounds_RC.min(1).argsort(kind="stable")[::-1] if r not in results]
    solved: dict[int, Future[tuple[AnyMachines, float]]] = {}

    def solve_one(r: int) -> tuple[AnyMachines, float]:
        machines, fit_s = solve(kernel_NN, y_N, *settings[r])
        if r == order[0]:
            return machines, fit_s
        # Bounds that were near may have changed nothing: the setting remains its own, without a second copy.
        same = next((own for own in free if own.equals(machines)), None)
        return replace(same) if same else machines.packed(bounds_RC[r]), fit_s

    # Groups of classes share the cores, or else settings.
    with pool_of_cores(len(order) if len(counts_C) < MANY_CLASSES else 1) as pool:
        for r in order:
            if any(machines.within(bounds_RC[r]) for machines in free):
                continue
            solved[r] = pool.submit(solve_one, r)
            if r == order[0] and (largest := solved[r].result()[0].whole()).within(bounds_RC[r]):
                free.append(largest)
    for r in order:
        shared = [machines for machines in free if machines.within(bounds_RC[r])]
        own, fit_s = solved[r].result() if r in solved else (shared[0], 0.0)
        results[r] = (shared[0] if shared else own), fit_s
    return [results[r] for r in range(len(settings))]


def _at_bounds(
    kernel_NN: Array, counts_C: Array, bounds_RC: Array
) -> Iterator[tuple[AnyMachines, float] | None]:
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
        machines = PairMachines(
            np.where(first_KN, bounds_C[0], -bounds_C[0]), middle_CC[np.triu_indices(n_classes, 1)], counts_C
        )
        yield machines.packed(bounds_C), time.perf_counter() - start
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
