"""One binary machine for every pair of classes, as libsvm has it.

N: training rows, class after class. M: rows to predict. C: classes. K: C - 1, the other classes. P: pairs of classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.svm import SVC
from sklearn.utils import compute_class_weight

from transfer.environment import usable_cores

Array = npt.NDArray[Any]

# Values of pairs held at a time: 256 MB.
BLOCK_VALUES = 32_000_000


@dataclass(frozen=True)
class Machines:
    """One machine for every pair of classes: a row has a coefficient for each class but its own."""

    dual_KN: Array
    intercept_P: Array
    counts_C: Array
    """Rows of each class."""

    def decide(self, kernel_MN: Array) -> Array:
        """Values (M, P): above zero, the pair's first class. `in_blocks` bounds their memory."""
        n_classes = len(self.counts_C)
        pair_CC = np.zeros((n_classes, n_classes), int)
        pair_CC[np.triu_indices(n_classes, 1)] = range(len(self.intercept_P))
        pair_CC += pair_CC.T
        values_MP = np.tile(self.intercept_P, (len(kernel_MN), 1))
        # Most machines know nothing of a class's rows: one product over all of them would be zeros for the most part.
        for c, end in enumerate(np.cumsum(self.counts_C)):
            own = slice(end - self.counts_C[c], end)
            values_MP[:, np.delete(pair_CC[c], c)] += kernel_MN[:, own] @ self.dual_KN[:, own].T
        return values_MP

    def coefficients(self, x_ND: Array) -> Array:
        """Weights (P, D) of the training rows' own features, for a linear kernel."""
        # Without intercepts: those of features of scale 1e18 would swallow the weights.
        weights_PD: Array = replace(self, intercept_P=np.zeros_like(self.intercept_P)).decide(x_ND.T).T
        return weights_PD

    def supported(self) -> tuple[Array, Machines]:
        """Which rows (N,) have a coefficient, and the machines over these alone."""
        support_N: Array = (self.dual_KN != 0).any(axis=0)
        ends = np.cumsum(self.counts_C)[:-1]
        counts_C = np.array([part.sum() for part in np.split(support_N, ends)])
        return support_N, Machines(self.dual_KN[:, support_N], self.intercept_P, counts_C)

    def within(self, bounds_C: Array) -> bool:
        """Whether every coefficient is under half of its class's bound."""
        largest_N = np.abs(self.dual_KN).max(0)
        return bool((2 * largest_N < np.repeat(bounds_C, self.counts_C)).all())


def solve(kernel_NN: Array, y_N: Array, C: float, class_weight: Any) -> tuple[Machines, float]:
    """The machines of one setting, and the seconds that libsvm took. Rows of one class stand together."""
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
    """The machines of several C and class weights for one kernel, and the seconds that each setting took.

    A solution that comes near no bound that C sets is the solution of all settings whose bounds are wider still: they
    get the same object, and the first of them its seconds. So the widest goes first, beside the narrowest, which shares
    it least. `free` holds such solutions of calls before this one, and takes in new ones.
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
    """How large a coefficient may become, for each class (C,)."""
    upper_C: Array = C * compute_class_weight(class_weight, classes=np.unique(y_N), y=y_N)
    return upper_C


def in_blocks(
    decide: Callable[[Array], Array], rows_MX: Array, n_classes: int, reduce: Callable[[Array, int], Array]
) -> Array:
    """`reduce(decide(rows), n_classes)` (M, C), for so many rows at a time that the values of pairs fit in memory."""
    block = max(1, BLOCK_VALUES // max(1, n_classes * (n_classes - 1) // 2))
    parts = [
        reduce(decide(rows_MX[start : start + block]), n_classes) for start in range(0, len(rows_MX), block)
    ]
    return np.concatenate(parts) if parts else np.empty((0, n_classes))


def vote(values_MP: Array, n_classes: int) -> Array:
    """Votes (M, C): every pair gives one to the class it prefers, as libsvm counts them."""
    votes_MC = np.zeros((len(values_MP), n_classes))
    for c, pairs in _pairs_by_first_class(n_classes):
        first_MK = values_MP[:, pairs] > 0
        votes_MC[:, c] += first_MK.sum(1)
        votes_MC[:, c + 1 :] += ~first_MK
    return votes_MC


def confidence(values_MP: Array, n_classes: int) -> Array:
    """Votes and, within equal votes, confidence (M, C), as `SVC` with `decision_function_shape="ovr"` has them."""
    sums_MC = np.zeros((len(values_MP), n_classes))
    for c, pairs in _pairs_by_first_class(n_classes):
        sums_MC[:, c] += values_MP[:, pairs].sum(1)
        sums_MC[:, c + 1 :] -= values_MP[:, pairs]
    values_MC: Array = vote(values_MP, n_classes) + sums_MC / (3 * (np.abs(sums_MC) + 1))
    return values_MC


def _pairs_by_first_class(n_classes: int) -> Iterator[tuple[int, slice]]:
    """The pairs whose first class is c: with the classes after it, in their order."""
    start = 0
    for c in range(n_classes - 1):
        yield c, slice(start, start := start + n_classes - 1 - c)
