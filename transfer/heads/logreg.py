"""Multinomial logistic regression over a whole grid of penalties.

N: training rows. M: rows to predict. D: features. C: classes. S: settings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_sample_weight

from transfer.heads.grid import Setting
from transfer.heads.linear import checked, outputs, predict_layers
from transfer.heads.selection import GridSearch, Solution
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

    Parameters: `C` and `class_weight` are sequences, `standardize`, `max_iter` and `tol` as in
    `LogisticRegressionHead`; `select` is the score that chooses. Nothing is drawn; `seed` is part of the contract that
    all searches have in common.
    """

    AXES: ClassVar = {"class_weight": "class_weight", "C": "C"}
    SCALES = ("C",)

    def __init__(
        self,
        *,
        C: Sequence[float] = (0.01, 0.1, 1, 10, 100),
        class_weight: Sequence[Any] = (None,),
        standardize: bool = True,
        select: str = "macro_f1",
        extend: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-7,
        seed: int = 0,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.standardize = standardize
        self.select = select
        self.extend = extend
        self.max_iter = max_iter
        self.tol = tol
        self.seed = seed

    def _prepare(self, X: Array, codes_N: Array) -> tuple[Array, Array]:
        return X, codes_N

    def _solve(
        self, rows: tuple[Array, Array], settings: Sequence[Setting], valid: tuple[Array, Array]
    ) -> list[Solution]:
        solutions = []
        X, codes_N = rows
        for setting in settings:
            start = time.perf_counter()
            coef, intercept, n_iter, _ = fit_path(
                X,
                codes_N,
                [setting["C"]],
                weight_N=compute_sample_weight(setting["class_weight"], self.classes_[codes_N]),
                standardize=self.standardize,
                max_iter=self.max_iter,
                tol=self.tol,
            )
            solutions.append(
                Solution(setting, (coef[0], intercept[0], n_iter[0]), time.perf_counter() - start)
            )
        return solutions

    def _predict(self, rows: Any, models: Sequence[Any], X: Array) -> Array:
        return predict_layers([model[:2] for model in models], X)

    def _make(self, rows: Any, params: Setting, model: Any) -> LogisticRegressionHead:
        estimator = LogisticRegressionHead(
            **params, standardize=self.standardize, max_iter=self.max_iter, tol=self.tol
        )
        estimator.coef_, estimator.intercept_, estimator.n_iter_ = model
        return estimator
