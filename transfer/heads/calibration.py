"""Calibrated probabilities of the labels that a fitted head predicts, from its outputs on validation rows.

The outputs are divided by a temperature, the predicted label gets an offset, and a softmax makes them probabilities;
labels stay as they are. Temperature scaling alone (Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural
Networks", ICML 2017) serves logits. Labels of a one-against-one SVM come from votes, and a class that lost the vote may
have the larger output: without the offset all its probabilities are low.

N: rows. C: classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest

Array = npt.NDArray[Any]

# The temperatures that are looked at, in standard deviations of the outputs, and the largest offset.
TEMPERATURES, MOST_OFFSET = (1e-3, 1e3), 20.0
# Shares of neighbours below this count as this.
LEAST_SHARE = 1e-6
# Rows whose probabilities are held at once.
ROWS = 4096
# Confidences that validation counts are kept for: 0.00, 0.01, ... 1.00.
STEPS = 100


def outputs(head: Any, X: Array) -> tuple[Array, Array]:
    """Return what a head says of rows, before any softmax.

    Parameters
    ----------
    head : classifier
        A fitted head.
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    codes_N : ndarray of int
        The predicted label of each row, as an index into `head.classes_`.
    outputs_NC : ndarray of float
        Values of `decision_function`, or logarithms of probabilities where a head has no such values. A single value
        for two classes is that of the second one; the first one has 0.
    """
    if hasattr(head, "predict_with_sums"):
        labels_N, values = head.predict_with_sums(X)
    elif hasattr(head, "decision_function"):
        labels_N, values = head.predict(X), head.decision_function(X)
    else:  # of neighbours: to predict as well would look for them twice
        shares_NC = head.predict_proba(X)
        labels_N = head.classes_[shares_NC.argmax(1)]
        values = np.log(np.maximum(shares_NC, LEAST_SHARE))
    outputs_NC = np.asarray(values, np.float64)
    if outputs_NC.ndim == 1:
        outputs_NC = np.stack([np.zeros_like(outputs_NC), outputs_NC], axis=1)
    return np.searchsorted(head.classes_, labels_N), outputs_NC


def fit(outputs_NC: Array, codes_N: Array, true_N: Array) -> tuple[float, float]:
    """Find the temperature and the offset with the least cross entropy, which is convex in 1 / temperature and offset.

    Parameters
    ----------
    outputs_NC, codes_N : ndarray
        As `outputs` returns them.
    true_N : ndarray of int
        The true labels, as indices into the classes.

    Returns
    -------
    temperature, offset : float
        1 and 0 without rows, or with one class.

    Notes
    -----
    A share of 1 / (n + 2) of each row's weight lies on all classes alike, as in Platt's targets (1999): otherwise the
    temperature of a head that is right everywhere would fall to zero.
    """
    n_rows, n_classes = outputs_NC.shape
    unit = float(outputs_NC.std()) if n_rows else 0.0
    if not unit or n_classes < 2:
        return 1.0, 0.0
    spread = 1 / (n_rows + 2)

    def loss(parameters: Array) -> tuple[float, Array]:
        sums = np.zeros(3)
        for rows in _parts(n_rows):
            at_N, scaled_NC = np.arange(len(codes_N[rows])), outputs_NC[rows] / unit
            target_NC = np.full(scaled_NC.shape, spread / n_classes)
            target_NC[at_N, true_N[rows]] += 1 - spread
            log_NC = log_softmax(_shifted(scaled_NC * parameters[0], codes_N[rows], parameters[1]), axis=1)
            apart_NC = np.exp(log_NC) - target_NC
            own_N = apart_NC[at_N, codes_N[rows]]
            sums += -(target_NC * log_NC).sum(), (apart_NC * scaled_NC).sum(), own_N.sum()
        sums /= n_rows
        return float(sums[0]), sums[1:]

    low, high = TEMPERATURES
    bounds = [(1 / high, 1 / low), (0.0, MOST_OFFSET)]
    found = minimize(loss, (1.0, 0.0), jac=True, bounds=bounds, method="L-BFGS-B")
    return unit / float(found.x[0]), float(found.x[1])


def _parts(n_rows: int) -> list[slice]:
    """Return the rows whose probabilities are held at once."""
    return [slice(start, start + ROWS) for start in range(0, n_rows, ROWS)]


def _shifted(scaled_NC: Array, codes_N: Array, offset: float) -> Array:
    shifted_NC = scaled_NC.copy()
    shifted_NC[np.arange(len(codes_N)), codes_N] += offset
    return shifted_NC


@dataclass(frozen=True, kw_only=True)
class ConfidentCounts:
    """What a confidence came to on validation rows.

    Parameters
    ----------
    rows : int
        Validation rows in all.
    confident : int
        Those whose label was at least as probable.
    right : int
        Those of them whose label was right.
    """

    rows: int
    confident: int
    right: int

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % interval of the share that was right, by Wilson; 0 to 1 where no row was as sure."""
        if not self.confident:
            return 0.0, 1.0
        found = binomtest(self.right, self.confident).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        if not self.confident:
            return f"none of {self.rows:,} validation images was as sure"
        low, high = self.ci95
        return (
            f"of {self.rows:,} validation images {self.confident:,} were as sure, and "
            f"{self.right / self.confident:.0%} of these right ({low:.0%} to {high:.0%})"
        )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How sure a head is of its labels, and how often it was right when it was as sure on the validation rows.

    Parameters
    ----------
    temperature : float
        What the outputs of the head are divided by.
    offset : float
        What the predicted label gets after that.
    kept, right : sequence of int
        Of the validation rows, how many have at least the confidences 0.00, 0.01, ... 1.00, and how many of these are
        predicted right.
    """

    temperature: float
    offset: float
    kept: Sequence[int]
    right: Sequence[int]

    @classmethod
    def fit(cls, head: Any, X: Array, y: Array) -> Self:
        """Fit temperature and offset of a head on validation rows.

        Parameters
        ----------
        head : classifier
            A fitted head.
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            True labels, all of them among `head.classes_`.

        Returns
        -------
        Calibration
        """
        codes_N, outputs_NC = outputs(head, X)
        true_N = np.searchsorted(head.classes_, y)
        temperature, offset = fit(outputs_NC, codes_N, true_N)
        confidence_N = np.empty(len(codes_N))
        for rows in _parts(len(codes_N)):
            log_NC = log_softmax(_shifted(outputs_NC[rows] / temperature, codes_N[rows], offset), axis=1)
            confidence_N[rows] = np.exp(log_NC[np.arange(len(log_NC)), codes_N[rows]])
        step_N = np.floor(confidence_N * STEPS + 1e-9).astype(np.int64)
        kept, right = (
            np.bincount(step_N[counted], minlength=STEPS + 1)[::-1].cumsum()[::-1]
            for counted in (slice(None), codes_N == true_N)
        )
        return cls(temperature=temperature, offset=offset, kept=kept.tolist(), right=right.tolist())

    def predict(self, head: Any, X: Array) -> tuple[Array, Array]:
        """Return a head's label for every row, and the calibrated probability of that label.

        Parameters
        ----------
        head : classifier
            The head that it was fitted for.
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        labels_N : ndarray
        confidence_N : ndarray of float
            Between 0 and 1.
        """
        labels, confidences = [head.classes_[:0]], [np.empty(0)]
        for codes_N, share_NC in self._in_parts(head, X):
            labels.append(head.classes_[codes_N])
            confidences.append(share_NC[np.arange(len(codes_N)), codes_N])
        return np.concatenate(labels), np.concatenate(confidences)

    def predict_proba(self, head: Any, X: Array) -> Array:
        """Return calibrated probabilities of all classes `(N, C)`, in the order of `head.classes_`."""
        return self.predict_with_all(head, X)[1]

    def predict_with_all(self, head: Any, X: Array) -> tuple[Array, Array]:
        """Return `predict`'s labels `(N,)` and `predict_proba` `(N, C)`, from one pass."""
        labels, shares = [head.classes_[:0]], [np.empty((0, len(head.classes_)))]
        for codes_N, share_NC in self._in_parts(head, X):
            labels.append(head.classes_[codes_N])
            shares.append(share_NC)
        return np.concatenate(labels), np.concatenate(shares)

    def count_confident(self, min_confidence: float) -> ConfidentCounts:
        """Return what a confidence came to on the validation rows.

        Parameters
        ----------
        min_confidence : float
            Between 0 and 1; rounded down to whole hundredths, so that no more is said than was counted.

        Returns
        -------
        ConfidentCounts
        """
        step = int(min_confidence * STEPS + 1e-9)
        return ConfidentCounts(rows=self.kept[0], confident=self.kept[step], right=self.right[step])

    def _in_parts(self, head: Any, X: Array) -> Iterator[tuple[Array, Array]]:
        """Yield predicted labels, as indices, and probabilities of all classes for some rows at a time."""
        for rows in _parts(len(X)):
            codes_N, outputs_NC = outputs(head, X[rows])
            yield codes_N, softmax(_shifted(outputs_NC / self.temperature, codes_N, self.offset), axis=1)
