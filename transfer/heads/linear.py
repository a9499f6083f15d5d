"""Linear layers: standardisation folded into a layer, classifiers that are one, and searches that choose one.

N: training rows. B: rows of a part. M: rows to predict. D: features. C: classes. S: settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from transfer.heads.base import GridSearch
from transfer.heads.checks import validate_rows
from transfer.heads.grid import Setting
from transfer.heads.products import multiply_rows

Array = npt.NDArray[Any]
Layer = tuple[Array, Array]
"""Weights (C, D) and biases (C,) for raw features."""
# How many deviations a feature's mean may lie away from zero in float32.
FAR = 100
# Rows that are widened at a time, and stay in a core's cache.
PART = 256


def compute_moments(x_ND: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Compute the moments of every feature, with sums in float64.

    Parameters
    ----------
    x_ND : (N, D) float32

    Returns
    -------
    mean, deviation : (D,) float32
        The deviation of a constant feature is 1.
    """
    # float32 sums over a million rows lose digits that the deviation needs; a float64 copy of all rows is costly.
    about_D = x_ND[:PART].mean(0, dtype=np.float64)
    sum_D, squares_D = np.zeros_like(about_D), np.zeros_like(about_D)
    for part in gen_batches(len(x_ND), PART):
        away_BD = x_ND[part] - about_D
        sum_D += away_BD.sum(0)
        squares_D += np.einsum("bd,bd->d", away_BD, away_BD)
    away_D = sum_D / len(x_ND)
    mean_D = about_D + away_D
    deviation_D = np.sqrt(np.maximum(squares_D / len(x_ND) - away_D**2, 0))
    deviation_D[deviation_D <= 1e-7 * np.abs(mean_D)] = 1
    return mean_D.astype(np.float32), np.where(deviation_D > 0, deviation_D, 1).astype(np.float32)


def fold_scale(weights_CD: Array, biases_C: Array, mean_D: Array, scale_D: Array) -> Layer:
    """Fold standardisation into a layer: write W (x - mean) / scale + b as a layer for x itself.

    The result is float32, or float64 if a feature's mean is more than `FAR` times its scale: products with raw rows
    cancel there, and in float32 a logit would lose more digits than classes differ by.

    Parameters
    ----------
    weights_CD : (C, D)
    biases_C : (C,)
    mean_D, scale_D : (D,)

    Returns
    -------
    coef : (C, D)
    intercept : (C,)
    """
    mean_D, scale_D = mean_D.astype(np.float64), scale_D.astype(np.float64)
    dtype = np.float64 if (np.abs(mean_D) > FAR * scale_D).any() else np.float32
    # A layer at the far edge of a grid may overflow float32; it then loses on the validation rows.
    with np.errstate(over="ignore", invalid="ignore"):
        folded_CD = weights_CD / scale_D
        return folded_CD.astype(dtype), (biases_C - folded_CD @ mean_D).astype(dtype)


class LinearHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier by the largest output of a layer for raw features, which `fit` of a subclass sets.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    coef_, intercept_ : ndarrays of shapes (C, D) and (C,), float32 or, for features far from zero, float64
    """

    def decision_function(self, X: Any) -> Array:
        """Return the outputs of the layer.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            For two classes (n_samples,): the second's less the first's.
        """
        values_MC = self._outputs(X)
        return values_MC[:, 1] - values_MC[:, 0] if len(self.classes_) == 2 else values_MC

    def predict(self, X: Any) -> Array:
        """Predict the class of the largest output.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        best_M = self._outputs(X).argmax(1)
        labels: Array = self.classes_[best_M]
        return labels

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        values_MC: Array = multiply_rows(validate_rows(self, X), self.coef_) + self.intercept_
        return values_MC


class SoftmaxHead(LinearHead):
    """A linear head whose outputs are logits."""

    def predict_proba(self, X: Any) -> Array:
        """Return the softmax of the logits.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities_MC: Array = softmax(self._outputs(X), axis=1)
        return probabilities_MC


def predict_layers(layers: Sequence[Layer], X: Array) -> Array:
    """Return the class index of the largest output (S, M) of each of several layers.

    Parameters
    ----------
    layers : sequence of (coef, intercept)
        (C, D) and (C,) each.
    X : (M, D) float32
    """
    coef_SCD, intercept_SC = (np.stack(parts) for parts in zip(*layers, strict=True))
    values_MP = multiply_rows(X, coef_SCD.reshape(-1, X.shape[1])) + intercept_SC.reshape(-1)
    best_SM: Array = values_MP.reshape(len(X), *intercept_SC.shape).argmax(2).T
    return best_SM


class LinearSearch(GridSearch):
    """A search over settings of a head, whose models are layers for raw features."""

    HEAD: ClassVar[type[LinearHead]]

    def _predict(self, rows: Any, models: Sequence[Layer], X: Array) -> Array:
        return predict_layers(models, X)

    def _make(self, rows: Any, params: Setting, model: Layer) -> LinearHead:
        estimator, own = self.HEAD(), self.get_params(deep=False)
        shared = estimator.get_params(deep=False).keys() & own.keys()
        estimator.set_params(**{name: own[name] for name in shared} | params)
        estimator.coef_, estimator.intercept_ = model
        return estimator
