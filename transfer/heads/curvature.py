"""The second derivative of multinomial logistic regression, in coordinates in which it is nearly diagonal.

S: rows of a sample. B: rows of a block. R: coordinates of rows. K: these and the intercept. C: classes. P: pairs of
classes. X: pairs of few classes, or one for many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from transfer.heads.products import multiply_few, multiply_rows

Array = npt.NDArray[Any]

# With more classes, pairs of them take longer than the iterations that they save.
MOST_JOINT = 32
OVERFLOW = "products of these features overflow float32; scale them, or use standardize=True"
# Of the mean curvature, what intercepts have for a penalty, and what keeps matrices from being singular.
INTERCEPTS, LEAST = 1e-3, 1e-12


def principal_axes(z_SR: Array, slope_CS: Array, cost_S: Array) -> Array:
    """Return orthonormal coordinates (R, R), in columns, in which the mean second derivative of a class is diagonal.

    Rows that are all but certain have next to no curvature: each counts by its mean over the classes.

    Parameters
    ----------
    z_SR : (S, R) float32
    slope_CS : (C, S)
        Derivatives of the rows' cross entropies with respect to logits.
    cost_S : (S,)
        Weights of the cross entropies.

    Raises
    ------
    ValueError
        Where float32 can't hold the products.
    """
    curvature_S = cost_S * _own_curvature(slope_CS).mean(0)
    root_S = np.sqrt(curvature_S / max(float(curvature_S.max()), 1e-30)).astype(np.float32)
    scaled_RS = np.ascontiguousarray((z_SR * root_S[:, None]).T)
    second_RR = torch.from_numpy(multiply_rows(scaled_RS, scaled_RS))
    if not second_RR.isfinite().all():
        raise ValueError(OVERFLOW)
    axes_RR: Array = torch.linalg.eigh(second_RR)[1].numpy()
    return axes_RR


def sum_curvature(z_BR: Array, slope_CB: Array, y_B: Array, cost_B: Array) -> Array:
    """Return sums (X, K) over rows of squared coordinates times the curvature of pairs, or the mean of many classes.

    Parameters
    ----------
    z_BR : (B, R) float32
    slope_CB, cost_B
        As for `principal_axes`.
    y_B : (B,) int
    """
    n_classes = len(slope_CB)
    if n_classes > MOST_JOINT:
        curvature_XB = _own_curvature(slope_CB).mean(0, keepdims=True)
    else:
        p_CB = slope_CB.copy()
        p_CB[y_B, np.arange(len(y_B))] += 1
        first_P, second_P = np.triu_indices(n_classes, 1)
        curvature_XB = p_CB[first_P] * p_CB[second_P]
    curvature_XB *= cost_B.astype(np.float32)
    sums_XR = multiply_few(*map(torch.from_numpy, (curvature_XB, np.square(z_BR).T))).numpy()
    return np.hstack([sums_XR, curvature_XB.sum(1, keepdims=True)])


@dataclass(frozen=True)
class Preconditioner:
    """An approximate inverse of the second derivative: each coordinate by itself, of few classes all jointly."""

    inverse: Array
    """(C, C, K) float64, of many classes (1, K) float32."""
    axes_RR: Array | None
    """The coordinates, in columns; None: those of the slopes."""

    @classmethod
    def of(cls, sums: Array, n_classes: int, penalty: float, axes_RR: Array | None) -> Preconditioner:
        """Invert a second derivative.

        Parameters
        ----------
        sums : (X, K) float64
            As `sum_curvature` returns them.
        n_classes : int
        penalty : float
            On squared weights.
        axes_RR : (R, R), optional
            Coordinates, in columns, that the sums are in; those of the slopes by default.
        """
        penalty_K = np.full(sums.shape[1], penalty)
        penalty_K[-1] = max(INTERCEPTS * float(sums[:, -1].mean()), 1e-30)
        if n_classes > MOST_JOINT:
            return cls((1 / (sums + penalty_K)).astype(np.float32), axes_RR)
        # The curvature of a class is that of its pairs together, as probabilities have the sum 1: computed so, no
        # rounding makes it too small.
        second_KCC = np.zeros((len(penalty_K), n_classes, n_classes))
        first_P, second_P = np.triu_indices(n_classes, 1)
        second_KCC[:, first_P, second_P] = second_KCC[:, second_P, first_P] = -sums.T
        classes = np.arange(n_classes)
        own_KC = penalty_K[:, None] - second_KCC.sum(2)
        size_K = own_KC.mean(1)
        second_KCC[:, classes, classes] = own_KC + LEAST * size_K[:, None]
        # Slopes have the sum zero over classes. Curvature in the direction of equal numbers changes nothing, and the
        # inverse would else consist of what the penalty leaves there.
        second_KCC += size_K[:, None, None] / n_classes
        return cls(np.ascontiguousarray(np.linalg.inv(second_KCC).transpose(1, 2, 0)), axes_RR)

    def apply(self, v: Array) -> Array:
        """Return the product with a flat slope."""
        slope_CK = v.reshape(-1, self.inverse.shape[-1])
        if self.axes_RR is not None:
            slope_CK = turn(slope_CK, self.axes_RR)
        many = self.inverse.ndim == 2
        found_CK = self.inverse * slope_CK if many else np.einsum("cjk,jk->ck", self.inverse, slope_CK)
        found_CK = found_CK.astype(np.float32, copy=False)
        return (found_CK if self.axes_RR is None else turn(found_CK, self.axes_RR.T)).ravel()


def turn(layer_CK: Array, axes_RR: Array) -> Array:
    """Return a layer, or its slope, in other coordinates, given in columns; the last column is intercepts."""
    turned_CR = multiply_few(*map(torch.from_numpy, (layer_CK[:, :-1], axes_RR.T))).numpy()
    return np.hstack([turned_CR, layer_CK[:, -1:]])


def _own_curvature(slope_CB: Array) -> Array:
    """Return p (1 - p) of each class: the slope is p, and of the row's own class p - 1, precise where that is small."""
    share_CB = np.abs(slope_CB)
    curvature_CB: Array = share_CB * (1 - share_CB)
    return curvature_CB
