"""The nearest training rows vote: nothing is trained.

N: training rows. M: rows to predict. D: features. C: classes. K: neighbours.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.heads.base import GridSearch, Solution
from transfer.heads.grid import Setting
from transfer.heads.linear import checked, moments, to_numpy

Array = npt.NDArray[Any]


class KNN(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The class that most of the `k` nearest training rows have, as `sklearn.neighbors.KNeighborsClassifier` votes.

    Parameters
    ----------
    k : int
        Neighbours that vote; all rows, where there are fewer.
    standardize : bool
        Measure Euclidean distances between features of mean 0 and deviation 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    def __init__(self, *, k: int = 5, standardize: bool = True) -> None:
        self.k = k
        self.standardize = standardize

    def fit(self, X: Any, y: Any) -> Self:
        """Keep `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, self.classes_, self._codes_N = checked(self, X, y, least=1)
        self._shift_D, self._scale_D = moments(X)
        if not self.standardize:
            self._shift_D, self._scale_D = np.zeros_like(self._shift_D), np.ones_like(self._scale_D)
        self._x_ND = (X - self._shift_D) / self._scale_D
        return self

    def predict_proba(self, X: Any) -> Array:
        """The share of the neighbours that each class has (n_samples, C)."""
        votes_MC = self._votes(self._neighbours(X, self.k))
        shares: Array = votes_MC / votes_MC.sum(1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Array:
        """The class with most votes (n_samples,); the first of equal ones."""
        best = self._votes(self._neighbours(X, self.k)).argmax(1)
        labels: Array = self.classes_[best]
        return labels

    def _neighbours(self, X: Any, k: int) -> Array:
        """Classes of the `k` nearest training rows (M, K), the nearest first."""
        check_is_fitted(self)
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        nearest = NearestNeighbors(n_neighbors=min(k, len(self._x_ND)), algorithm="brute").fit(self._x_ND)
        rows_MK = nearest.kneighbors((X - self._shift_D) / self._scale_D, return_distance=False)
        codes: Array = self._codes_N[rows_MK]
        return codes

    def _votes(self, codes_MK: Array) -> Array:
        """Votes for each class (M, C)."""
        n_rows, n_classes = len(codes_MK), len(self.classes_)
        cells_MK = np.arange(n_rows)[:, None] * n_classes + codes_MK
        return np.bincount(cells_MK.ravel(), minlength=n_rows * n_classes).reshape(n_rows, n_classes)


class KNNSearch(GridSearch):
    """`KNN` over a grid of neighbours, whose distances are computed once, chosen on validation data.

    Parameters
    ----------
    k : sequence of int
        Values to try.
    standardize : bool
        As in `KNN`.
    select : str
        `macro_f1` or `accuracy`: the score that chooses.
    extend : bool
        Not used: `k` is no scale that grows by decades.
    seed : int
        Not used: all searches have it, and here nothing is drawn.

    Attributes
    ----------
    classes_, cv_results_, best_params_, best_estimator_, extended_, at_edge_
        As in `GridSearch`.
    """

    AXES: ClassVar = {"k": "k"}
    LEAST_CLASSES = 1

    def __init__(
        self,
        *,
        k: Sequence[int] = (1, 5, 20),
        standardize: bool = True,
        select: str = "macro_f1",
        extend: bool = True,
        seed: int = 0,
    ) -> None:
        self.k = k
        self.standardize = standardize
        self.select = select
        self.extend = extend
        self.seed = seed

    def _prepare(self, X: Array, codes_N: Array) -> KNN:
        return KNN(k=max(self.k), standardize=self.standardize).fit(X, codes_N)

    def _solve(self, rows: KNN, settings: Sequence[Setting], valid: tuple[Array, Array]) -> list[Solution]:
        return [Solution(setting, _with_k(rows, setting["k"]), 0.0) for setting in settings]

    def _predict(self, rows: KNN, models: Sequence[KNN], X: Array) -> Array:
        codes_MK = rows._neighbours(X, rows.k)
        return np.stack([rows._votes(codes_MK[:, : model.k]).argmax(1) for model in models])

    def _make(self, rows: KNN, params: Setting, model: KNN) -> KNN:
        return copy.copy(model)


def _with_k(fitted: KNN, k: int) -> KNN:
    """The same rows with another number of neighbours."""
    estimator = copy.copy(fitted)
    estimator.k = k
    return estimator
