"""Checks of the data that heads and searches are given.

N: training rows. M: rows to predict. D: features. C: classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from transfer.heads.parameters import check_parameters
from transfer.system.row_storage import without_subnormals

Array = npt.NDArray[Any]


def to_numpy(values: Any) -> Any:
    """Convert a torch tensor on any device to a NumPy array; return anything else unchanged."""
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # NumPy has no bfloat16


def validate_training(
    estimator: BaseEstimator, X: Any, y: Any, *, least: int = 2
) -> tuple[Array, Array, Array]:
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
    _check_targets(y)
    classes, codes_N = np.unique(y, return_inverse=True)
    if len(classes) < least:
        raise ValueError(
            f"y has one class only, {classes.tolist()[0]!r}; this head needs at least {least} classes"
        )
    return X, classes, codes_N


def validate_rows(estimator: BaseEstimator, X: Any, *, reset: bool = False) -> Array:
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


def validate_labels(y_valid: Any, n_rows: int, classes: Array) -> Array:
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
    _check_targets(y)
    if _is_text(y) != _is_text(classes):
        raise ValueError(
            f"y has labels such as {classes.tolist()[0]!r}, y_valid such as {y.tolist()[0]!r}; give both in one type"
        )
    return y


def _check_targets(y: Array) -> None:
    """Check that labels are no continuous numbers; scikit-learn also warns where most rows have one of their own."""
    check_classification_targets(np.repeat(y, 2))


def _is_text(labels: Array) -> bool:
    return labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels.flat)
