"""Shared parts of heads: checks of data and parameters, standardisation, layers for raw features, their outputs.

N: training rows. B: rows of a part. M: rows to predict. D: features. C: classes. S: settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import gen_batches
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from transfer.heads.parameters import check_parameters
from transfer.heads.products import multiply_rows
from transfer.system.row_storage import without_subnormals

Array = npt.NDArray[Any]
FAR = 100

# Rows that are widened at a time, and stay in a core's cache.
PART = 256


def moments(x_ND: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
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


def to_numpy(values: Any) -> Any:
    """Convert a torch tensor on any device to a NumPy array; return anything else unchanged."""
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # NumPy has no bfloat16


def checked(estimator: BaseEstimator, X: Any, y: Any, *, least: int = 2) -> tuple[Array, Array, Array]:
    """Validate training data.

    Parameters
    ----------
    estimator : BaseEstimator
        Its parameters are checked too, and it learns the number of features.
    X : array or tensor of shape (n_samples, n_features)
    y : array of shape (n_samples,)
    least : int
        Number of classes that are needed.

    Returns
    -------
    x_ND : (N, D) float32
    classes : (C,)
    codes_N : (N,) int
        Class indices of the rows.

    Raises
    ------
    ValueError
        For data or parameters that cannot be used.
    """
    check_parameters(estimator.get_params(deep=False))
    X, y = validate_data(estimator, to_numpy(X), to_numpy(y), dtype=np.float32, order="C")
    X = without_subnormals(X)
    check_classification_targets(y)
    classes, codes_N = np.unique(y, return_inverse=True)
    if len(classes) < least:
        raise ValueError(
            f"y has one class only, {classes.tolist()[0]!r}; this head needs at least {least} classes"
        )
    return X, classes, codes_N


def checked_rows(estimator: BaseEstimator, X: Any, *, reset: bool = False) -> Array:
    """Validate rows: to predict, or with `reset` those that decide how many features there are.

    Parameters
    ----------
    estimator : BaseEstimator
    X : array or tensor of shape (n_samples, n_features)
    reset : bool

    Returns
    -------
    (M, D) float32
        Without subnormal numbers.

    Raises
    ------
    ValueError
        For data that cannot be used.
    """
    return without_subnormals(validate_data(estimator, to_numpy(X), dtype=np.float32, reset=reset))


def checked_labels(y_valid: Any, n_rows: int, classes: Array) -> Array:
    """Validate the labels of validation rows.

    Parameters
    ----------
    y_valid : array of shape (n_rows,)
    n_rows : int
    classes : (C,)
        Classes of the training rows.

    Returns
    -------
    (n_rows,)

    Raises
    ------
    ValueError
        If their number is another, or they are of another type than the classes.
    """
    y: Array = column_or_1d(to_numpy(y_valid), warn=True)
    if len(y) != n_rows:
        raise ValueError(f"X_valid has {n_rows} rows, y_valid has {len(y)}; give a label for each row")
    check_classification_targets(np.repeat(y, 2))  # it warns where few rows have labels of their own each
    if _is_text(y) != _is_text(classes):
        raise ValueError(
            f"y has labels such as {classes.tolist()[0]!r}, y_valid such as {y.tolist()[0]!r}; give both in one type"
        )
    return y


def _is_text(labels: Array) -> bool:
    return labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels.flat)


def folded(weights_SCD: Array, biases_SC: Array, mean_D: Array, scale_D: Array) -> tuple[Array, Array]:
    """Fold standardisation into layers: write W (x - mean) / scale + b as layers for x itself.

    The result is float32, or float64 if a feature's mean is more than `FAR` times its scale: products with raw rows
    cancel there, and in float32 a logit would lose more digits than classes differ by.

    Parameters
    ----------
    weights_SCD : (S, C, D)
    biases_SC : (S, C)
    mean_D, scale_D : (D,)

    Returns
    -------
    coef : (S, C, D)
    intercept : (S, C)
    """
    mean_D, scale_D = mean_D.astype(np.float64), scale_D.astype(np.float64)
    dtype = np.float64 if (np.abs(mean_D) > FAR * scale_D).any() else np.float32
    # A layer at the far edge of a grid may overflow float32; it then loses on the validation rows.
    with np.errstate(over="ignore", invalid="ignore"):
        folded_SCD = weights_SCD / scale_D
        return folded_SCD.astype(dtype), (biases_SC - folded_SCD @ mean_D).astype(dtype)


def outputs(head: Any, X: Any) -> Array:
    """Return the outputs of a fitted layer.

    Parameters
    ----------
    head : estimator
        With `coef_` (C, D) and `intercept_` (C,).
    X : array or tensor of shape (M, D)

    Returns
    -------
    (M, C)
    """
    check_is_fitted(head)
    X = checked_rows(head, X)
    values: Array = multiply_rows(X, head.coef_) + head.intercept_
    return values


def predict_layers(layers: Sequence[tuple[Array, Array]], X: Array) -> Array:
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
