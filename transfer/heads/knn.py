"""Classification by the nearest training rows, without training.

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
from sklearn.utils.validation import check_is_fitted

from transfer.heads.base import GridSearch
from transfer.heads.checks import validate_rows, validate_training
from transfer.heads.grid import Setting
from transfer.heads.linear import compute_moments
from transfer.heads.solutions import Solution
from transfer.system.errors import UserError
from transfer.system.hardware import available_bytes

Array = npt.NDArray[Any]


class KNN(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier by majority vote of the `k` nearest training rows, as `sklearn.neighbors.KNeighborsClassifier`.

    Parameters
    ----------
    k : int
        Neighbours that vote; all rows if there are fewer.
    standardize : bool
        Measure Euclidean distances between features of mean 0 and deviation 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import KNN
    >>> X, y = load_iris(return_X_y=True)
    >>> KNN(k=5).fit(X, y).predict(X[:2])
    array([0, 0])
    """

    def __init__(self, *, k: int = 5, standardize: bool = True) -> None:
        self.k = k
        self.standardize = standardize

    def fit(self, X: Any, y: Any) -> Self:
        """Store the training rows.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)
        y : array of shape (n_samples,)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used.
        """
        X, self.classes_, self._codes_N = validate_training(self, X, y, least=1)
        if X.nbytes > (free := available_bytes()):
            raise UserError(
                f"nearest neighbours are looked for in memory, where {free / 1e9:.1f} GB are free; features take "
                f"{X.nbytes / 1e9:.1f} GB; choose another method"
            )
        self._shift_D, self._scale_D = compute_moments(X)
        if not self.standardize:
            self._shift_D, self._scale_D = np.zeros_like(self._shift_D), np.ones_like(self._scale_D)
        self._x_ND = (X - self._shift_D) / self._scale_D
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return the share of the neighbours that each class has.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        votes_MC = self._votes(self._neighbours(X, self.k))
        shares: Array = votes_MC / votes_MC.sum(1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Array:
        """Predict the class with most votes; the first among equals.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        best = self._votes(self._neighbours(X, self.k)).argmax(1)
        labels: Array = self.classes_[best]
        return labels

    def _neighbours(self, X: Any, k: int) -> Array:
        """Return the classes of the `k` nearest training rows (M, K), the nearest first."""
        check_is_fitted(self)
        X = validate_rows(self, X)
        nearest = NearestNeighbors(n_neighbors=min(k, len(self._x_ND)), algorithm="brute").fit(self._x_ND)
        rows_MK = nearest.kneighbors((X - self._shift_D) / self._scale_D, return_distance=False)
        codes: Array = self._codes_N[rows_MK]
        return codes

    def _votes(self, codes_MK: Array) -> Array:
        """Count the votes for each class (M, C)."""
        n_rows, n_classes = len(codes_MK), len(self.classes_)
        cells_MK = np.arange(n_rows)[:, None] * n_classes + codes_MK
        return np.bincount(cells_MK.ravel(), minlength=n_rows * n_classes).reshape(n_rows, n_classes)


class KNNSearch(GridSearch):
    """A search for the number of neighbours of `KNN`; distances are computed once.

    Parameters
    ----------
    k : sequence of int
        Values to try.
    standardize : bool
        As in `KNN`.
    select : {"macro_f1", "accuracy"}
        The score on the validation data by which a setting is chosen.
    extend : bool
        Without effect: `k` is not extended by decades.
    seed : int
        Without effect: nothing is random here; all searches have this parameter.

    Attributes
    ----------
    classes_, cv_results_, best_params_, best_estimator_, extended_, at_edge_
        As in `GridSearch`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import KNNSearch
    >>> X, y = load_iris(return_X_y=True)
    >>> search = KNNSearch(k=[1, 5]).fit(X[::2], y[::2], X[1::2], y[1::2])
    >>> search.best_params_["k"] in (1, 5)
    True
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
    """Return the same rows with another number of neighbours."""
    estimator = copy.copy(fitted)
    estimator.k = k
    return estimator
