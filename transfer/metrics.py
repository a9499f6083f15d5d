"""Scores of predictions: confusion matrix, accuracy, macro F1, per class. Cosines between feature arrays.

N: images. C: classes. D: features. `...`: any leading axes, of a stack of confusion matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Of confidences, for the calibration error.
BINS = 15


def confusion(y_N: Labels, predicted_N: Labels, n_classes: int) -> Counts:
    """Count images by true class (rows) and predicted class (columns).

    Parameters
    ----------
    y_N, predicted_N : (N,) int64
        Class indices from 0 to `n_classes` - 1.
    n_classes : int

    Returns
    -------
    (C, C) int64
    """
    cells = np.bincount(y_N * n_classes + predicted_N, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def accuracy(confusion_CC: Counts) -> Floats:
    """Return the share of images predicted correctly.

    Parameters
    ----------
    confusion_CC : (..., C, C) int
        One or a stack of confusion matrices.

    Returns
    -------
    (...) float64
    """
    correct: Floats = np.trace(confusion_CC, axis1=-2, axis2=-1) / confusion_CC.sum((-2, -1))
    return correct


def score(y_N: Labels, predicted_N: Labels, n_classes: int) -> dict[str, float]:
    """Return `accuracy` and `macro_f1` of predictions, given as `confusion` takes them."""
    counts_CC = confusion(y_N, predicted_N, n_classes)
    return {"accuracy": float(accuracy(counts_CC)), "macro_f1": float(macro_f1(counts_CC))}


def macro_f1(confusion_CC: Counts) -> Floats:
    """Return the mean of F1 over classes.

    A class that is neither true nor predicted anywhere has no F1 and is left out, as scikit-learn does.

    Parameters
    ----------
    confusion_CC : (..., C, C) int
        One or a stack of confusion matrices.

    Returns
    -------
    (...) float64
    """
    hits = np.diagonal(confusion_CC, axis1=-2, axis2=-1)
    return mean_f1(hits, confusion_CC.sum(-1) + confusion_CC.sum(-2))


def mean_f1(hits_C: npt.NDArray[Any], occurrences_C: npt.NDArray[Any]) -> Floats:
    """Return macro F1 from counts of each class.

    Parameters
    ----------
    hits_C : (..., C)
        Images of a class that are predicted as this class.
    occurrences_C : (..., C)
        Images of the class plus images predicted as the class; F1 is twice the hits over this sum.

    Returns
    -------
    (...) float64
    """
    f1_C = 2 * hits_C / np.maximum(occurrences_C, 1)
    mean: Floats = f1_C.sum(-1) / (occurrences_C > 0).sum(-1)
    return mean


def score_classes(confusion_CC: Counts, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return support, recall, precision and F1 of each class.

    Parameters
    ----------
    confusion_CC : (C, C) int64
    classes : sequence of str
        Names in the order of the matrix.

    Returns
    -------
    list of dict
        `{class, support, recall, precision, f1}`, None where the divisor is zero.
    """
    support, predicted, hits = confusion_CC.sum(1), confusion_CC.sum(0), np.diagonal(confusion_CC)
    return [
        {
            "class": name,
            "support": int(support[c]),
            "recall": _ratio(hits[c], support[c]),
            "precision": _ratio(hits[c], predicted[c]),
            "f1": _ratio(2 * hits[c], support[c] + predicted[c]),
        }
        for c, name in enumerate(classes)
    ]


def calibration_error(confidence_N: Floats, right_N: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error: how far confidence and accuracy lie apart.

    Parameters
    ----------
    confidence_N : (N,) float
        The probability of each predicted label, from 0 to 1.
    right_N : (N,) bool
        Whether the label is right.

    Returns
    -------
    float
        The mean over 15 bins of equal width, weighted by their images, of the distance between mean confidence and
        accuracy (Guo, Pleiss, Sun and Weinberger, ICML 2017); 0 without images. With few images it is too high: chance
        alone separates both.
    """
    bin_N = np.minimum((np.asarray(confidence_N) * BINS).astype(np.int64), BINS - 1)
    apart_B = np.bincount(bin_N, weights=confidence_N - right_N, minlength=BINS)
    return float(np.abs(apart_B).sum() / max(len(bin_N), 1))


def cosines(x_ND: npt.NDArray[np.float32], y_ND: npt.NDArray[np.float32]) -> Floats:
    """Return the cosine between each row of `x_ND` and the same row of `y_ND`.

    Parameters
    ----------
    x_ND, y_ND : (N, D) float32

    Returns
    -------
    (N,) float64
        1 where the rows are equal, 0 where one of them is zero or not finite.
    """
    with np.errstate(all="ignore"):
        dot_N = np.einsum("nd,nd->n", x_ND, y_ND, dtype=np.float64)
        cosine_N = dot_N / (np.linalg.norm(x_ND, axis=1) * np.linalg.norm(y_ND, axis=1))
    return np.where((x_ND == y_ND).all(axis=1), 1.0, np.where(np.isfinite(cosine_N), cosine_N, 0.0))


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
