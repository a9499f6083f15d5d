"""What linear heads share: checks of data and parameters, layers for raw features, and their outputs.

N: training rows. M: rows to predict. D: features. C: classes. S: settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.config import UserError
from transfer.heads.standardize import to_numpy

Array = npt.NDArray[Any]


def checked(estimator: BaseEstimator, X: Any, y: Any, *, least: int = 2) -> tuple[Array, Array, Array]:
    """Features (N, D) float32, classes (C,), at `least` so many, and their indices (N,). Raises `ValueError`."""
    X, y = validate_data(estimator, to_numpy(X), to_numpy(y), dtype=np.float32, order="C")
    check_classification_targets(y)
    classes, codes_N = np.unique(y, return_inverse=True)
    if len(classes) < least:
        raise ValueError(f"y has one class only, {classes[0]!r}; this head needs at least {least} classes")
    return X, classes, codes_N


def check_positive(name: str, values: Iterable[float]) -> None:
    """Raise `UserError` unless every value is above zero."""
    for value in values:
        if not value > 0:
            raise UserError(f"{name} is {value!r}; give a number above 0")


def folded(weights_SCD: Array, biases_SC: Array, mean_D: Array, scale_D: Array) -> tuple[Array, Array]:
    """W (x - mean) / scale + b written as layers for x itself: float32 (S, C, D) and (S, C)."""
    folded_SCD = weights_SCD / scale_D
    return folded_SCD.astype(np.float32), (biases_SC - folded_SCD @ mean_D).astype(np.float32)


def outputs(head: Any, X: Any) -> Array:
    """Outputs of a fitted layer (M, C)."""
    check_is_fitted(head)
    X = validate_data(head, to_numpy(X), dtype=np.float32, reset=False)
    values: Array = X @ head.coef_.T + head.intercept_
    return values


def predict_layers(layers: Sequence[tuple[Array, Array]], X: Array) -> Array:
    """The class of the largest output (S, M) of each of several layers, `coef` (C, D) and `intercept` (C,)."""
    coef_SCD, intercept_SC = (np.stack(parts) for parts in zip(*layers, strict=True))
    values_MP = X @ coef_SCD.reshape(-1, X.shape[1]).T + intercept_SC.reshape(-1)
    best_SM: Array = values_MP.reshape(len(X), *intercept_SC.shape).argmax(2).T
    return best_SM
