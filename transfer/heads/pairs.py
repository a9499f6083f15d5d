"""One binary machine for every pair of classes, as libsvm has it.

N: training rows. M: rows to predict. V: support vectors. C: classes. P: pairs of classes.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Machines:
    """One machine for every pair of classes, over shared support vectors."""

    support_V: Array
    """Indices of the training rows."""
    dual_PV: Array
    intercept_P: Array
    n_classes: int

    def decide(self, kernel_MV: Array) -> Array:
        """Values (M, P): above zero, the pair's first class."""
        values: Array = kernel_MV @ self.dual_PV.T + self.intercept_P
        return values


def solve(kernel_NN: Array, y: Array, C: float, class_weight: Any) -> tuple[Machines, float]:
    """The machines of one setting, and the seconds that libsvm took."""
    start = time.perf_counter()
    solved = SVC(kernel="precomputed", C=C, class_weight=class_weight).fit(kernel_NN, y)
    n_classes = len(solved.classes_)
    dual_CV, intercept_P = solved.dual_coef_, solved.intercept_
    if n_classes == 2:  # here alone scikit-learn turns libsvm's signs round
        dual_CV, intercept_P = -dual_CV, -intercept_P
    ends = np.cumsum(solved.n_support_)
    own = [slice(end - count, end) for end, count in zip(ends, solved.n_support_, strict=True)]
    pairs = list(itertools.combinations(range(n_classes), 2))
    dual_PV = np.zeros((len(pairs), len(solved.support_)))
    # libsvm keeps, for a support vector, one coefficient for each class but its own.
    for p, (i, j) in enumerate(pairs):
        dual_PV[p, own[i]] = dual_CV[j - 1, own[i]]
        dual_PV[p, own[j]] = dual_CV[i, own[j]]
    machines = Machines(solved.support_, dual_PV, intercept_P, n_classes)
    return machines, time.perf_counter() - start


def vote(values_MP: Array, n_classes: int) -> Array:
    """Votes (M, C): every pair gives one to the class it prefers, as libsvm counts them."""
    votes_MC = np.zeros((len(values_MP), n_classes), np.int64)
    for p, (i, j) in enumerate(itertools.combinations(range(n_classes), 2)):
        first = values_MP[:, p] > 0
        votes_MC[:, i] += first
        votes_MC[:, j] += ~first
    return votes_MC
