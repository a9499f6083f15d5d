"""Ridge regression on class membership, solved in closed form for a whole grid of penalties.

N: training rows. B: rows of a batch. D: features. C: classes. S: settings. K: the lesser of N and D.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import gen_batches

from transfer.heads.linear import check_positive, checked, folded, outputs, outputs_of_each
from transfer.heads.selection import GridSearch
from transfer.heads.standardize import moments

Array = npt.NDArray[Any]

# Rows taken to float64 at a time: all at once would take twice the memory of the features.
CHUNK = 4096


class RidgeHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear layer by least squares with a penalty: the layer of `sklearn.linear_model.RidgeClassifier`.

    The targets are 1 for a row's class and -1 for the others; the intercept is not penalised. Parameters: `alpha`,
    the penalty on squared weights; `standardize` fits on features of mean 0 and deviation 1 and folds that into the
    layer afterwards.

    Fitted: `coef_` (C, D) and `intercept_` (C,), for raw features, and `classes_`.
    """

    def __init__(self, *, alpha: float = 100.0, standardize: bool = True) -> None:
        self.alpha = alpha
        self.standardize = standardize

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, self.classes_, codes_N = checked(self, X, y)
        coef_SCD, intercept_SC = solve(X, codes_N, [self.alpha], standardize=self.standardize)
        self.coef_, self.intercept_ = coef_SCD[0], intercept_SC[0]
        return self

    def decision_function(self, X: Any) -> Array:
        """How much each class is spoken for (n_samples, C); of two classes, the second (n_samples,)."""
        values_MC = outputs(self, X)
        return values_MC[:, 1] if len(self.classes_) == 2 else values_MC

    def predict(self, X: Any) -> Array:
        """The class of the largest output (n_samples,)."""
        best = outputs(self, X).argmax(1)
        labels: Array = self.classes_[best]
        return labels


class RidgeSearch(GridSearch):
    """`RidgeHead` over a grid of penalties, solved together, chosen on validation data.

    Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a list of
    `{params, accuracy, macro_f1, fit_s}` on the validation data, where `fit_s` is the setting's equal share of
    the one fit. Nothing is drawn; `seed` is there for the sake of a contract common to all searches.
    """

    def __init__(
        self,
        *,
        alpha: Sequence[float] = (1, 10, 100, 1000, 10000),
        standardize: bool = True,
        select: str = "macro_f1",
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.standardize = standardize
        self.select = select
        self.seed = seed

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Fit every setting to `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        X, self.classes_, codes_N = checked(self, X, y)
        self._coef_SCD, self._intercept_SC = solve(X, codes_N, self.alpha, standardize=self.standardize)
        share_s = (time.perf_counter() - start) / len(self.alpha)
        params = [{"alpha": alpha} for alpha in self.alpha]
        return self._choose(params, [share_s] * len(params), X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        labels: Array = self.classes_[outputs_of_each(self, X).argmax(2).T]
        return labels

    def _estimator(self, index: int) -> RidgeHead:
        estimator = RidgeHead(alpha=self.alpha[index], standardize=self.standardize)
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        estimator.coef_, estimator.intercept_ = self._coef_SCD[index], self._intercept_SC[index]
        return estimator


def solve(x_ND: Array, y_N: Array, alpha_S: Sequence[float], *, standardize: bool) -> tuple[Array, Array]:
    """Layers (S, C, D) and (S, C) for raw features, one for each penalty (Hoerl and Kennard 1970).

    W = (X'X + alpha)^-1 X'Y = X'(XX' + alpha)^-1 Y on centred rows and targets; the smaller matrix is taken. It is
    made once, and factored for each penalty: at 2048 features that takes 0.07 s, where the eigendecomposition that
    serves all penalties takes 0.7 s.
    """
    check_positive("alpha", alpha_S)
    mean_D, deviation_D = (values.astype(np.float64) for values in moments(x_ND))
    scale_D = deviation_D if standardize else np.ones_like(deviation_D)
    y_NC = np.where(y_N[:, None] == np.arange(y_N.max() + 1), 1.0, -1.0)
    bias_C = y_NC.mean(0)
    y_NC -= bias_C
    z_KD = None
    if len(x_ND) < x_ND.shape[1]:
        z_KD = (x_ND - mean_D) / scale_D
        gram_KK, right_KC = z_KD @ z_KD.T, y_NC
    else:
        gram_KK, right_KC = np.zeros((x_ND.shape[1],) * 2), np.zeros((x_ND.shape[1], y_NC.shape[1]))
        for rows in gen_batches(len(x_ND), CHUNK):
            z_BD = (x_ND[rows] - mean_D) / scale_D
            gram_KK += z_BD.T @ z_BD
            right_KC += z_BD.T @ y_NC[rows]
    weights = []
    for alpha in alpha_S:
        factor = cho_factor(gram_KK + alpha * np.eye(len(gram_KK)), overwrite_a=True, check_finite=False)
        solved_KC = cho_solve(factor, right_KC, check_finite=False)
        weights.append(solved_KC.T if z_KD is None else solved_KC.T @ z_KD)
    biases_SC = np.broadcast_to(bias_C, (len(weights), len(bias_C)))
    return folded(np.stack(weights), biases_SC, mean_D, scale_D)
