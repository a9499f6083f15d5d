"""Grid searches that choose among settings by validation rows alone.

N: training rows. M: rows to predict. S: settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from transfer.config import SCORE_NAMES
from transfer.heads.checks import to_numpy, validate_labels, validate_rows, validate_training
from transfer.heads.grid import Grid, Setting, product
from transfer.heads.mapped import parts
from transfer.heads.solutions import ScoredSolution, Solution, ranking, validation_scores
from transfer.heads.threads import one_thread_each, pool_of_fits
from transfer.system.errors import check_choice
from transfer.system.hardware import usable_cores

Array = npt.NDArray[Any]


class GridSearch(BaseEstimator):  # type: ignore[misc]
    """A search over a grid of settings that share work, chosen by scores on validation data.

    The grid extends itself: while the best value of a scale (see `SCALES`) is the lowest or highest one tried, one more
    decade is fitted, at most three in each direction. Among equal scores, one that is not at an edge is preferred, then
    the first.

    A subclass has one keyword-only parameter for each axis (a sequence of values), `select` (`macro_f1` or `accuracy`)
    and `extend`, and defines the class variables and the methods `_prepare`, `_solve`, `_predict` and `_make`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    cv_results_ : list of dict
        A row for each solution: `params`; `same_as`, the parameters of further settings with the same solution;
        `accuracy` and `macro_f1` on the validation data; `fit_s`, seconds of fitting, with an equal share of the
        seconds that all settings have in common. Settings that were added come last.
    valid_predictions_ : ndarray of shape (n_rows, n_samples)
        Labels that every setting predicts for the validation data, in the order of `cv_results_`.
    best_index_ : int
        The row of `cv_results_` that is chosen.
    best_params_ : dict
    best_estimator_ : estimator
    extended_ : dict of str to list of float
        The values that were added to each axis, in the order in which they were tried.
    at_edge_ : list of str
        Axes for which an outermost value is chosen even after extension.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import KNNSearch
    >>> X, y = load_iris(return_X_y=True)
    >>> search = KNNSearch(k=[1, 5]).fit(X[::2], y[::2], X[1::2], y[1::2])
    >>> [row["params"] for row in search.cv_results_]
    [{'k': 1}, {'k': 5}]
    """

    AXES: ClassVar[dict[str, str]]
    """Each parameter of the search with several values, and the estimator's parameter that they are for."""
    SCALES: ClassVar[tuple[str, ...]] = ()
    """Those of the estimator's parameters that are extended by decades."""
    LEAST_CLASSES: ClassVar[int] = 2

    select: str
    extend: bool

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Fit every setting, choose one, and extend the grid while the choice lies at its edge.

        Parameters
        ----------
        X, X_valid : array or tensor of shape (n_samples, n_features)
            Rows that settings are fitted to, and rows that they are scored on.
        y, y_valid : array of shape (n_samples,)
            Their labels.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used.
        """
        check_choice("select", self.select, SCORE_NAMES)
        start = time.perf_counter()
        X, self.classes_, codes_N = validate_training(self, X, y, least=self.LEAST_CLASSES)
        self._rows = self._prepare(X, codes_N)
        shared_s = time.perf_counter() - start
        X_valid = validate_rows(self, X_valid)
        valid = (X_valid, validate_labels(y_valid, len(X_valid), self.classes_))
        grid = Grid(self._settings(self._rows), self.SCALES)
        rows: list[ScoredSolution] = []
        new = list(grid.settings)
        while new:
            rows = self._merge(grid, rows, self._solve_distinct(new, codes_N, valid), valid)
            inside = [not list(grid.edges(row.settings)) for row in rows]
            able = [i for i, row in enumerate(rows) if row.solution.complete]
            best = able[self._best([rows[i].scores for i in able], [inside[i] for i in able])]
            new = grid.extend(rows[best].settings) if self.extend else []
        self._models = [row.solution.model for row in rows]
        self.cv_results_ = [row.report(shared_s / len(rows)) for row in rows]
        self.valid_predictions_ = np.stack([row.predicted_M for row in rows])
        self.extended_ = grid.added
        self.at_edge_ = [axis for axis, _ in grid.edges(rows[best].settings)]
        self.best_index_, self.best_params_ = best, self.cv_results_[best]["params"]
        self.best_estimator_ = self._estimator(best)
        return self

    def fit_splits(
        self,
        X: Any,
        y: Any,
        splits: Sequence[tuple[Array, Array]],
        take: Callable[[int, Self], Any] = lambda split, fitted: fitted,
        on_fit: Callable[[int], None] = lambda done: None,
    ) -> list[Any]:
        """Fit a clone of this search to each of several splits of the same rows.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)
        y : array of shape (n_samples,)
        splits : sequence of (train, valid)
            Indices of the rows that a search is fitted to, and of those that its settings are scored on.
        take : callable
            Given the number of a split, from 0, and the search fitted to it, which chooses and predicts what `fit` on
            these rows does; returns what is kept of it, by default the search. It is called in threads.
        on_fit : callable
            Called after each split, in their order, with the number of splits that are done.

        Returns
        -------
        list
            For each split what `take` returned. Searches hold their training rows.

        Raises
        ------
        ValueError
            As `fit` does.
        """
        X, y = to_numpy(X), to_numpy(y)

        def fit_one(i: int) -> Any:
            train_N, valid_M = splits[i]
            return take(i, clone(self).fit(X[train_N], y[train_N], X[valid_M], y[valid_M]))

        if len(splits) == 1:  # all cores for one fit
            kept = [fit_one(0)]
            on_fit(1)
            return kept
        with one_thread_each(), pool_of_fits(min(len(splits), self._n_workers(len(X)))) as pool:
            fitted = []
            for one in pool.map(fit_one, range(len(splits))):
                fitted.append(one)
                on_fit(len(fitted))
            return fitted

    def predict(self, X: Any) -> Array:
        """Predict labels with the chosen setting.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        ValueError
            For rows that cannot be used; `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        return np.asarray(self.best_estimator_.predict(X))

    def predict_each(self, X: Any) -> Array:
        """Predict labels with every setting.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_samples)
            In the order of `cv_results_`.

        Raises
        ------
        ValueError
            For rows that cannot be used; `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        return self._predict_labels(self._models, validate_rows(self, X))

    def _settings(self, rows: Any) -> list[Setting]:
        """Return the settings to begin with: by default all combinations of the axes' values."""
        return product({own: getattr(self, name) for name, own in self.AXES.items()})

    def _prepare(self, X: Array, codes_N: Array) -> Any:
        """Return what all settings share, from float32 rows (N, D) and class indices (N,). Raises `ValueError`."""
        raise NotImplementedError

    def _solve(
        self, rows: Any, settings: Sequence[Setting], valid: tuple[Array, Array]
    ) -> Sequence[Solution]:
        """Return solutions of the settings in their order; a setting may have several, next to each other.

        `valid` holds rows (M, D) float32 and their labels (M,), for searches that stop by them.
        """
        raise NotImplementedError

    def _solve_distinct(
        self, settings: Sequence[Setting], codes_N: Array, valid: tuple[Array, Array]
    ) -> list[Solution]:
        """Return solutions; settings that give the classes equal weights, as "balanced" and None may, share one."""
        y_N, weights = self.classes_[codes_N], list(getattr(self, "class_weight", ()))
        weight_WC = [compute_class_weight(own, classes=self.classes_, y=y_N).tolist() for own in weights]

        def weigh(setting: Setting) -> Setting:
            if "class_weight" not in setting:
                return setting
            return setting | {"class_weight": weight_WC[weights.index(setting["class_weight"])]}

        weighed = [weigh(setting) for setting in settings]
        first_S = [weighed.index(own) for own in weighed]
        solutions = self._solve(self._rows, [settings[i] for i in dict.fromkeys(first_S)], valid)
        return [
            own if first == s else replace(own, setting=settings[s], fit_s=0.0)
            for s, first in enumerate(first_S)
            for own in solutions
            if own.setting == settings[first]
        ]

    def _predict(self, rows: Any, models: Sequence[Any], X: Array) -> Array:
        """Return class indices (S, M) predicted by each of the models."""
        raise NotImplementedError

    def _predict_labels(self, models: Sequence[Any], X: Array) -> Array:
        """Return labels (S, M) predicted by each of the models, for some rows at a time."""
        some = parts(len(X), len(models) * len(self.classes_))
        codes_SM = np.concatenate([self._predict(self._rows, models, X[part]) for part in some], axis=1)
        labels: Array = self.classes_[codes_SM]
        return labels

    def _make(self, rows: Any, params: Setting, model: Any) -> Any:
        """Return the fitted estimator of one solution, without `classes_` and `n_features_in_`."""
        raise NotImplementedError

    def _n_workers(self, n_rows: int) -> int:
        """Return the number of splits of so many rows to fit in parallel."""
        return usable_cores()

    def _best(self, scored: Sequence[dict[str, float]], inside: Sequence[bool]) -> int:
        """Return the index of the row to choose by its scores; `inside` marks rows that lie at no edge of the grid."""
        first, *others = ranking(scored, self.select)
        equal = [first, *(i for i in others if scored[i] == scored[first])]
        return next((i for i in equal if inside[i]), first)

    def _merge(
        self,
        grid: Grid,
        rows: Sequence[ScoredSolution],
        solutions: Sequence[Solution],
        valid: tuple[Array, Array],
    ) -> list[ScoredSolution]:
        """Add new solutions to the rows; a new model is scored on the validation data."""
        of_model = {id(row.solution.model): row for row in rows}
        new = list({id(own.model): own for own in solutions if id(own.model) not in of_model}.values())
        if new:
            predicted_SM = self._predict_labels([own.model for own in new], valid[0])
            for own, predicted_M in zip(new, predicted_SM, strict=True):
                scores = validation_scores(valid[1], predicted_M)
                of_model[id(own.model)] = ScoredSolution(own, [], predicted_M, scores)
        for own in solutions:
            of_model[id(own.model)].add(own, grid.scales)
        return list(of_model.values())

    def _estimator(self, index: int) -> Any:
        """Return the fitted estimator of one row of `cv_results_`."""
        estimator = self._make(self._rows, self.cv_results_[index]["params"], self._models[index])
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        return estimator
