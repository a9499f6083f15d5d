"""The nearest training rows vote: nothing is trained.

N: training rows. M: rows to predict. D: features. C: classes. K: neighbours.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.heads.selection import GridSearch
from transfer.heads.standardize import moments, to_numpy

Array = npt.NDArray[Any]


class KNN(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The class that most of the `k` nearest training rows have, as `sklearn.neighbors.KNeighborsClassifier` votes.

    Parameters: `k` (all rows, where there are fewer); `standardize` measures Euclidean distances between features
    of mean 0 and deviation 1. Fitted: `classes_`, and the training rows.
    """

    def __init__(self, *, k: int = 5, standardize: bool = True) -> None:
        self.k = k
        self.standardize = standardize

    def fit(self, X: Any, y: Any) -> Self:
        """Keep `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, y = validate_data(self, to_numpy(X), to_numpy(y), dtype=np.float32)
        check_classification_targets(y)
        self.classes_, self._codes_N = np.unique(y, return_inverse=True)
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

    Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a list of
    `{params, accuracy, macro_f1, fit_s}` on the validation data, where `fit_s` is the setting's equal share of
    making the rows ready. Nothing is drawn; `seed` is there for the sake of a contract common to all searches.
    """

    def __init__(
        self,
        *,
        k: Sequence[int] = (1, 5, 20),
        standardize: bool = True,
        select: str = "macro_f1",
        seed: int = 0,
    ) -> None:
        self.k = k
        self.standardize = standardize
        self.select = select
        self.seed = seed

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Keep `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        self._widest = KNN(k=max(self.k), standardize=self.standardize).fit(X, y)
        self.classes_ = self._widest.classes_
        share_s = (time.perf_counter() - start) / len(self.k)
        return self._choose([{"k": k} for k in self.k], [share_s] * len(self.k), X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        codes_MK = self._widest._neighbours(X, self._widest.k)
        votes = [self._widest._votes(codes_MK[:, :k]) for k in self.k]
        return np.stack([self.classes_[votes_MC.argmax(1)] for votes_MC in votes])

    def _estimator(self, index: int) -> KNN:
        estimator = copy.copy(self._widest)
        estimator.k = self.k[index]
        return estimator
