"""One binary SVM (machine) for every pair of classes, as in libsvm.

N: training rows, class after class. M: rows to predict. C: classes. K: other classes, all (C - 1) or those after one.
P: pairs of classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from scipy.sparse import csr_matrix
from sklearn.svm import SVC
from sklearn.utils import compute_class_weight

from transfer.heads.threads import one_thread_each
from transfer.system.hardware import usable_cores

Array = npt.NDArray[Any]

# Values of one class's pairs held at a time: 2 MB.
BLOCK_VALUES = 2**18


@dataclass(frozen=True)
class Machines:
    """One machine for every pair of classes: a row has a coefficient for each class except its own."""

    dual_KN: Array
    intercept_P: Array
    counts_C: Array
    """Rows of each class."""

    def decide(self, kernel_MN: Array) -> Iterator[Array]:
        """Yield the values of the pairs of each class but the last with the classes after it (K, M).

        A value above zero prefers the class that comes first.

        Parameters
        ----------
        kernel_MN : (M, N)
            Kernel values of the rows to predict with the training rows.
        """
        kernel_NM = np.ascontiguousarray(kernel_MN.T)
        ends_C = np.cumsum(self.counts_C)
        for c, pairs in pairs_by_first_class(len(self.counts_C)):
            end = ends_C[c]
            own = slice(end - self.counts_C[c], end)
            # A pair's value takes the rows of its second class alone: a sparse product, one row of it for each pair.
            second_KN = csr_matrix(
                (self.dual_KN[c, end:], np.arange(ends_C[-1] - end), ends_C[c:] - end),
                shape=(len(ends_C) - 1 - c, ends_C[-1] - end),
            )
            values_KM = self.dual_KN[c:, own] @ kernel_NM[own]
            values_KM += second_KN @ kernel_NM[end:]
            values_KM += self.intercept_P[pairs, None]
            yield values_KM

    def coefficients(self, x_ND: Array) -> Array:
        """Return weights (P, D) for the features `x_ND` of the training rows, for a linear kernel."""
        # Without intercepts: those of features of scale 1e18 would swallow the weights.
        return np.concatenate(list(replace(self, intercept_P=np.zeros_like(self.intercept_P)).decide(x_ND.T)))

    def supported(self) -> tuple[Array, Machines]:
        """Return which rows (N,) have a coefficient, and the machines of these rows alone."""
        support_N: Array = (self.dual_KN != 0).any(axis=0)
        ends = np.cumsum(self.counts_C)[:-1]
        counts_C = np.array([part.sum() for part in np.split(support_N, ends)])
        return support_N, Machines(self.dual_KN[:, support_N], self.intercept_P, counts_C)

    def within(self, bounds_C: Array) -> bool:
        """Return whether every coefficient is under half of its class's bound (C,)."""
        largest_N = np.abs(self.dual_KN).max(0)
        return bool((2 * largest_N < np.repeat(bounds_C, self.counts_C)).all())


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
    with sklearn.config_context(assume_finite=True):  # the rows were checked; this saves a tenth
        solved = SVC(kernel="precomputed", C=C, class_weight=class_weight).fit(kernel_NN, y_N)
    classes, counts_C = np.unique(y_N, return_counts=True)
    # Of two classes scikit-learn turns libsvm's signs round.
    sign = -1 if len(classes) == 2 else 1
    dual_KN = np.zeros((len(classes) - 1, len(y_N)))
    dual_KN[:, solved.support_] = sign * solved.dual_coef_
    return Machines(dual_KN, sign * solved.intercept_, counts_C), time.perf_counter() - start


def solve_settings(
    kernel_NN: Array, y_N: Array, settings: Sequence[tuple[float, Any]], free: list[Machines]
) -> list[tuple[Machines, float]]:
    """Return the machines of several C and class weights for one kernel, and the seconds that each setting took.

    A solution with coefficients well below the bounds that C sets is the solution of all settings with larger
    bounds too: they get the same object, and the first of them its seconds. So the largest bounds are solved first, in
    parallel with the smallest, which are the least likely to share it.

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
    narrowest, *rest, widest = bounds_RC.min(1).argsort(kind="stable") if len(settings) > 1 else (None, 0)
    solved: dict[int, Future[tuple[Machines, float]]] = {}

    def begin(r: int) -> None:
        if not any(machines.within(bounds_RC[r]) for machines in free):
            solved[r] = pool.submit(solve, kernel_NN, y_N, *settings[r])

    with ThreadPoolExecutor(usable_cores()) as pool:  # libsvm lets go of the interpreter while it solves
        for r in (widest, narrowest):
            if r is not None:
                begin(r)
        if widest in solved:
            machines, _ = solved[widest].result()
            if machines.within(bounds_RC[widest]):
                free.append(machines)
        for r in rest:
            begin(r)
    results = []
    for r, bounds_C in enumerate(bounds_RC):
        own = [solved[r].result()] if r in solved else []
        shared = [machines for machines in free if machines.within(bounds_C)]
        results.append(((shared or [own[0][0]])[0], own[0][1] if own else 0.0))
    return results


def bounds(y_N: Array, C: float, class_weight: Any) -> Array:
    """Return the upper bound of the coefficients of each class (C,)."""
    upper_C: Array = C * compute_class_weight(class_weight, classes=np.unique(y_N), y=y_N)
    return upper_C


def in_blocks(
    decide: Callable[[Array], Iterator[Array]],
    rows_MX: Array,
    n_classes: int,
    reduce: Callable[[Iterator[Array], int, int], Array],
) -> Array:
    """Compute something from the values of the pairs, in blocks of rows that fit into the cache.

    Parameters
    ----------
    decide : callable
        From rows to the values of the pairs, as `Machines.decide` yields them.
    rows_MX : (M, X)
        Argument of `decide`.
    n_classes : int
    reduce : callable
        From these values, the number of classes and the number of rows to (rows, C): `vote` or `confidence`.

    Returns
    -------
    (M, C)
    """
    size = max(1, BLOCK_VALUES // n_classes)
    blocks = [rows_MX[start : start + size] for start in range(0, len(rows_MX), size)] or [rows_MX]

    def reduce_block(block_MX: Array) -> Array:
        return reduce(decide(block_MX), n_classes, len(block_MX))

    if len(blocks) == 1:
        return reduce_block(rows_MX)
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        return np.concatenate(list(pool.map(reduce_block, blocks)))


def vote(values: Iterable[Array], n_classes: int, n_rows: int) -> Array:
    """Count the votes for each class: every pair votes for the class it prefers, as in libsvm.

    Parameters
    ----------
    values : iterable of (K, M)
        Values of the pairs, as `Machines.decide` yields them.
    n_classes, n_rows : int

    Returns
    -------
    (M, C) int
    """
    votes_CM = np.repeat(np.arange(n_classes)[:, None], n_rows, axis=1)  # as if all classes before had lost
    for c, values_KM in enumerate(values):
        first_KM = values_KM > 0
        votes_CM[c] += np.count_nonzero(first_KM, axis=0)
        votes_CM[c + 1 :] -= first_KM
    return votes_CM.T


def confidence(values: Iterable[Array], n_classes: int, n_rows: int) -> Array:
    """Return votes plus, within equal votes, confidence, as `SVC` with `decision_function_shape="ovr"`.

    Parameters
    ----------
    values, n_classes, n_rows
        As for `vote`.

    Returns
    -------
    (M, C) float64
    """
    sums_CM = np.zeros((n_classes, n_rows))

    def summed() -> Iterator[Array]:
        for c, values_KM in enumerate(values):
            sums_CM[c] += values_KM.sum(0)
            sums_CM[c + 1 :] -= values_KM
            yield values_KM

    votes_MC = vote(summed(), n_classes, n_rows)
    values_MC: Array = votes_MC + (sums_CM / (3 * (np.abs(sums_CM) + 1))).T
    return values_MC


def pairs_by_first_class(n_classes: int) -> Iterator[tuple[int, slice]]:
    """Yield each class but the last, with the slice of its pairs with the classes after it."""
    start = 0
    for c in range(n_classes - 1):
        yield c, slice(start, start := start + n_classes - 1 - c)
