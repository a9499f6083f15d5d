"""Classification by the nearest class mean: a linear layer that one pass over the rows gives.

N: training rows. M: rows to predict. D: features. C: classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from transfer.heads.checks import validate_training
from transfer.heads.grid import Setting
from transfer.heads.linear import Layer, LinearHead, LinearSearch, compute_moments, fold_scale
from transfer.heads.mapped import parts
from transfer.heads.solutions import Solution
from transfer.system.errors import check_choice

Array = npt.NDArray[Any]

METRICS = ("euclidean", "cosine")


class NearestMean(LinearHead):
    """A classifier by the nearest mean of a class, as `sklearn.neighbors.NearestCentroid`.

    |x - m|^2 is |x|^2 - 2 (x m - |m|^2 / 2), and the angle between x and m is least where x m / |m| is largest: by
    either distance the nearest mean is that of the largest output of a linear layer. By the Euclidean metric outputs
    are -|x - m|^2 / 2, up to a number for each row.

    Parameters
    ----------
    metric : {"euclidean", "cosine"}
        Distance of a row from a mean; of standardised rows `cosine` is about the mean of all.
    standardize : bool
        Measure distances between features of mean 0 and deviation 1, and fold that into the layer afterwards.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    coef_, intercept_ : ndarrays of shapes (C, D) and (C,), float32 or, for features far from zero, float64
        The layer for raw features.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import NearestMean
    >>> X, y = load_iris(return_X_y=True)
    >>> NearestMean().fit(X, y).predict(X[:2])
    array([0, 0])
    """

    def __init__(self, *, metric: str = "euclidean", standardize: bool = True) -> None:
        self.metric = metric
        self.standardize = standardize

    def fit(self, X: Any, y: Any) -> Self:
        """Compute the means.

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
        check_choice("metric", self.metric, METRICS)
        X, self.classes_, codes_N = validate_training(self, X, y)
        self.coef_, self.intercept_ = ClassMeans.of(X, codes_N, self.standardize).layer(self.metric)
        return self


class NearestMeanSearch(LinearSearch):
    """A search over the metrics of `NearestMean`; means are computed once.

    Parameters
    ----------
    metric : sequence of {"euclidean", "cosine"}
        Metrics to try.
    standardize : bool
        As in `NearestMean`.
    select : {"macro_f1", "accuracy"}
        The score on the validation data by which a setting is chosen.
    extend : bool
        Without effect: there is no scale to extend.
    seed : int
        Without effect: nothing is random here; all searches have this parameter.

    Attributes
    ----------
    classes_, cv_results_, best_params_, best_estimator_, extended_, at_edge_
        As in `GridSearch`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import NearestMeanSearch
    >>> X, y = load_iris(return_X_y=True)
    >>> search = NearestMeanSearch().fit(X[::2], y[::2], X[1::2], y[1::2])
    >>> search.best_params_["metric"] in ("euclidean", "cosine")
    True
    """

    HEAD = NearestMean
    AXES: ClassVar = {"metric": "metric"}

    def __init__(
        self,
        *,
        metric: Sequence[str] = METRICS,
        standardize: bool = True,
        select: str = "macro_f1",
        extend: bool = True,
        seed: int = 0,
    ) -> None:
        self.metric = metric
        self.standardize = standardize
        self.select = select
        self.extend = extend
        self.seed = seed

    def _prepare(self, X: Array, codes_N: Array) -> ClassMeans:
        for metric in self.metric:
            check_choice("metric", metric, METRICS)
        return ClassMeans.of(X, codes_N, self.standardize)

    def _solve(
        self, rows: ClassMeans, settings: Sequence[Setting], valid: tuple[Array, Array]
    ) -> list[Solution]:
        solutions = []
        for setting in settings:
            start = time.perf_counter()
            layer = rows.layer(setting["metric"])
            solutions.append(Solution(setting, layer, time.perf_counter() - start))
        return solutions


@dataclass(frozen=True)
class ClassMeans:
    """Means of the classes, in float64, and what standardises features."""

    mean_CD: Array
    shift_D: Array
    scale_D: Array
    standardize: bool

    @classmethod
    def of(cls, x_ND: Array, codes_N: Array, standardize: bool) -> Self:
        """Compute the means.

        Parameters
        ----------
        x_ND : (N, D) float32
        codes_N : (N,) int
            Class indices.
        standardize : bool
        """
        sum_CD = np.zeros((codes_N.max() + 1, x_ND.shape[1]))
        for part in parts(*x_ND.shape):
            for code in np.unique(codes_N[part]):
                sum_CD[code] += x_ND[part][codes_N[part] == code].sum(0, dtype=np.float64)
        return cls(sum_CD / np.bincount(codes_N)[:, None], *compute_moments(x_ND), standardize)

    def layer(self, metric: str) -> Layer:
        """Return the layer for raw features: weights (C, D) and intercepts (C,), see `fold_scale`."""
        unit_D = self.scale_D if self.standardize else np.ones_like(self.scale_D)
        # Distances do not depend on where features are measured from, and angles do.
        from_zero = metric == "cosine" and not self.standardize
        origin_D = np.zeros_like(self.shift_D) if from_zero else self.shift_D
        weights_CD = (self.mean_CD - origin_D) / unit_D
        bias_C = -np.square(weights_CD).sum(1) / 2
        if metric == "cosine":
            length_C1 = np.linalg.norm(weights_CD, axis=1, keepdims=True)
            weights_CD, bias_C = weights_CD / np.where(length_C1 > 0, length_C1, 1), np.zeros_like(bias_C)
        weights_CD = weights_CD / unit_D
        bias_C = bias_C + weights_CD @ (self.shift_D - origin_D)
        # On standardised rows in any case: by their scale `fold_scale` sees which digits the layer needs.
        return fold_scale(weights_CD * self.scale_D, bias_C, self.shift_D, self.scale_D)
