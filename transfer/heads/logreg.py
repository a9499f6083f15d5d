"""Multinomial logistic regression over a whole grid of penalties.

N: training rows. M: rows to predict. D: features. C: classes. S: settings.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_sample_weight

from transfer.heads.linear import checked, outputs, outputs_of_each
from transfer.heads.selection import GridSearch
from transfer.heads.softmax import fit_path, softmax

Array = npt.NDArray[Any]


class LogisticRegressionHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear layer with softmax at the optimum that `sklearn.linear_model.LogisticRegression` looks for.

    The objective is C times the sum of cross entropies plus half the squared weights; the intercept is not
    penalised. Parameters: `C` and `class_weight` as in `LogisticRegression`; `standardize` fits on features of mean 0
    and deviation 1 and folds that into the layer afterwards; `tol` is the relative gain below which L-BFGS stops.

    Fitted: `coef_` (C, D) and `intercept_` (C,), for raw features, `classes_` and `n_iter_`.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        class_weight: Any = None,
        standardize: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-7,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.standardize = standardize
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, self.classes_, codes_N = checked(self, X, y)
        coef_SCD, intercept_SC, n_iter_S, _ = fit_path(
            X,
            codes_N,
            [self.C],
            weight_N=compute_sample_weight(self.class_weight, self.classes_[codes_N]),
            standardize=self.standardize,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        self.coef_, self.intercept_, self.n_iter_ = coef_SCD[0], intercept_SC[0], n_iter_S[0]
        return self

    def decision_function(self, X: Any) -> Array:
        """Logits (n_samples, C); of two classes, how far the second leads (n_samples,)."""
        logits_MC = outputs(self, X)
        return logits_MC[:, 1] - logits_MC[:, 0] if len(self.classes_) == 2 else logits_MC

    def predict_proba(self, X: Any) -> Array:
        """Softmax of the logits (n_samples, C)."""
        return softmax(outputs(self, X))

    def predict(self, X: Any) -> Array:
        """The class of the largest logit (n_samples,)."""
        best = outputs(self, X).argmax(1)
        labels: Array = self.classes_[best]
        return labels


class LogisticRegressionSearch(GridSearch):
    """`LogisticRegressionHead` over a grid of C and class weights, chosen on validation data.

    Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a list of
    `{params, accuracy, macro_f1, fit_s}` on the validation data, where `fit_s` is the setting's own seconds, begun
    from its neighbour's optimum, plus its equal share of the rest. Nothing is drawn; `seed` is there for the sake
    of a contract common to all searches.
    """

    def __init__(
        self,
        *,
        C: Sequence[float] = (0.01, 0.1, 1, 10, 100),
        class_weight: Sequence[Any] = (None,),
        standardize: bool = True,
        select: str = "macro_f1",
        max_iter: int = 1000,
        tol: float = 1e-7,
        seed: int = 0,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.standardize = standardize
        self.select = select
        self.max_iter = max_iter
        self.tol = tol
        self.seed = seed

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Fit every setting to `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        X, self.classes_, codes_N = checked(self, X, y)
        paths = [
            fit_path(
                X,
                codes_N,
                self.C,
                weight_N=compute_sample_weight(class_weight, self.classes_[codes_N]),
                standardize=self.standardize,
                max_iter=self.max_iter,
                tol=self.tol,
            )
            for class_weight in self.class_weight
        ]
        coefs, intercepts, n_iters, seconds = zip(*paths, strict=True)
        self._coef_SCD, self._intercept_SC = np.concatenate(coefs), np.concatenate(intercepts)
        self._n_iter_S = list(itertools.chain(*n_iters))
        own_s = list(itertools.chain(*seconds))
        share_s = (time.perf_counter() - start - sum(own_s)) / len(own_s)
        params = [{"C": C, "class_weight": weight} for weight in self.class_weight for C in self.C]
        return self._choose(params, [seconds + share_s for seconds in own_s], X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        labels: Array = self.classes_[outputs_of_each(self, X).argmax(2).T]
        return labels

    def _estimator(self, index: int) -> LogisticRegressionHead:
        estimator = LogisticRegressionHead(
            **self.cv_results_[index]["params"],
            standardize=self.standardize,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        estimator.coef_, estimator.intercept_ = self._coef_SCD[index], self._intercept_SC[index]
        estimator.n_iter_ = self._n_iter_S[index]
        return estimator
