"""Multinomial logistic regression over a whole grid of penalties.

N: training rows. M: rows to predict. D: features. C: classes. S: settings.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy.typing as npt
from sklearn.utils import compute_sample_weight

from transfer.heads.base import GridSearch
from transfer.heads.checks import validate_training
from transfer.heads.grid import Setting
from transfer.heads.linear import SoftmaxHead, predict_layers
from transfer.heads.multinomial import SpannedRows, fit_layer
from transfer.heads.solutions import Solution
from transfer.heads.threads import one_thread_each, pool_of_cores

Array = npt.NDArray[Any]

# Of the last move between two penalties, the share that the next move begins with.
MOVED_ON = 0.7


class LogisticRegressionHead(SoftmaxHead):
    """A linear layer with softmax at the optimum of multinomial logistic regression.

    The objective is that of `sklearn.linear_model.LogisticRegression`: C times the sum of cross entropies plus half the
    squared weights; the intercept is not penalised.

    Parameters
    ----------
    C, class_weight
        As in `LogisticRegression`.
    standardize : bool
        Fit on features of mean 0 and deviation 1, and fold that into the layer afterwards.
    max_iter : int
        Largest number of iterations of L-BFGS, besides at most 10 from which coordinates are chosen.
    tol : float
        L-BFGS stops when five steps have gained less than this share of the objective.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    coef_, intercept_ : ndarrays of shapes (C, D) and (C,), float32 or, for features far from zero, float64
        The layer for raw features.
    n_iter_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import LogisticRegressionHead
    >>> X, y = load_iris(return_X_y=True)
    >>> LogisticRegressionHead(C=1.0).fit(X, y).predict(X[:2])
    array([0, 0])
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        class_weight: Any = None,
        standardize: bool = True,
        max_iter: int = 1000,
        tol: float = 3e-6,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.standardize = standardize
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the layer.

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
        X, self.classes_, codes_N = validate_training(self, X, y)
        rows = SpannedRows.of(X, codes_N, self.C, standardize=self.standardize)
        weight_N = compute_sample_weight(self.class_weight, self.classes_[codes_N])
        with one_thread_each():
            layer, self.n_iter_ = fit_layer(
                rows, codes_N, self.C, weight_N, max_iter=self.max_iter, tol=self.tol
            )
        self.coef_, self.intercept_ = rows.fold(layer)
        return self


class LogisticRegressionSearch(GridSearch):
    """A search over C and class weights of `LogisticRegressionHead`, each optimum started from the one before.

    Parameters
    ----------
    C, class_weight : sequence
        Values to try, as `LogisticRegressionHead` takes them.
    standardize, max_iter, tol
        As in `LogisticRegressionHead`.
    select : {"macro_f1", "accuracy"}
        The score on the validation data by which a setting is chosen.
    extend : bool
        Whether values of C are added while the best one is an outermost one.
    seed : int
        Without effect: nothing is random here; all searches have this parameter.

    Attributes
    ----------
    classes_, cv_results_, best_params_, best_estimator_, extended_, at_edge_
        As in `GridSearch`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import LogisticRegressionSearch
    >>> X, y = load_iris(return_X_y=True)
    >>> search = LogisticRegressionSearch(C=[0.1, 1.0]).fit(X[::2], y[::2], X[1::2], y[1::2])
    >>> search.predict(X[:2])
    array([0, 0])
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
        tol: float = 3e-6,
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

    def _prepare(self, X: Array, codes_N: Array) -> PenaltyPath:
        return PenaltyPath(SpannedRows.of(X, codes_N, min(self.C), standardize=self.standardize), codes_N)

    def _solve(
        self, rows: PenaltyPath, settings: Sequence[Setting], valid: tuple[Array, Array]
    ) -> list[Solution]:
        def follow(class_weight: Any) -> list[Solution]:
            """Solve the settings of one class weight, the strongest penalty first; each starts from the one before."""
            weight_N = compute_sample_weight(class_weight, self.classes_[rows.codes_N])
            own = [setting for setting in settings if setting["class_weight"] == class_weight]
            solutions = []
            for setting in sorted(own, key=lambda setting: setting["C"]):
                start = time.perf_counter()
                layer, n_iter = fit_layer(
                    rows.rows,
                    rows.codes_N,
                    setting["C"],
                    weight_N,
                    rows.start(setting),
                    max_iter=self.max_iter,
                    tol=self.tol,
                )
                rows.layers.append((setting, layer))
                model = (*rows.rows.fold(layer), n_iter)
                solutions.append(Solution(setting, model, time.perf_counter() - start))
            return solutions

        # BLAS's own threads wait for each other, which is slow where another process is busy. Class weights are given
        # to the cores instead, and blocks of rows to the cores of each.
        weights = [setting["class_weight"] for setting in settings]
        weights = [w for i, w in enumerate(weights) if weights.index(w) == i]
        with one_thread_each(), pool_of_cores(len(weights)) as pool:
            solutions = list(itertools.chain(*pool.map(follow, weights)))
        return sorted(solutions, key=lambda own: settings.index(own.setting))

    def _predict(self, rows: Any, models: Sequence[Any], X: Array) -> Array:
        return predict_layers([model[:2] for model in models], X)

    def _make(self, rows: Any, params: Setting, model: Any) -> LogisticRegressionHead:
        estimator = LogisticRegressionHead(
            **params, standardize=self.standardize, max_iter=self.max_iter, tol=self.tol
        )
        estimator.coef_, estimator.intercept_, estimator.n_iter_ = model
        return estimator


@dataclass
class PenaltyPath:
    """Training rows, and the layers of the settings solved so far."""

    rows: SpannedRows
    codes_N: Array
    layers: list[tuple[Setting, Array]] = field(default_factory=list)

    def start(self, setting: Setting) -> Array | None:
        """Return a starting point: the layer with the next stronger penalty and the same class weights, moved on.

        Along log C, layers move on much as they did before: this saves iterations.
        """
        stronger = sorted(
            ((own["C"], layer) for own, layer in self.layers if _on_path(own, setting)),
            key=lambda pair: pair[0],
        )
        if len(stronger) < 2:
            return stronger[0][1] if stronger else None
        (before, layer_before), (last, layer) = stronger[-2:]
        further = min(1.0, math.log(setting["C"] / last) / math.log(last / before))
        moved: Array = layer + MOVED_ON * further * (layer - layer_before)
        return moved


def _on_path(own: Setting, setting: Setting) -> bool:
    return bool(own["class_weight"] == setting["class_weight"] and own["C"] < setting["C"])
