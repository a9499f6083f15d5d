"""The optimum of multinomial logistic regression, along a path of penalties.

N: training rows. D: features. C: classes. S: settings.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from transfer.heads.linear import check_positive, folded
from transfer.heads.standardize import moments

Array = npt.NDArray[Any]

# Steps that L-BFGS remembers.
HISTORY = 10


def fit_path(
    x_ND: Array,
    y_N: Array,
    C_S: Sequence[float],
    *,
    weight_N: Array,
    standardize: bool,
    max_iter: int,
    tol: float,
) -> tuple[Array, Array, list[int], list[float]]:
    """Layers (S, C, D) and (S, C) for raw features, with the iterations and seconds that each took.

    The strongest penalty comes first and each of the others begins at
    the optimum before it, which halves the iterations; all at once, as columns of one stack, would begin at zero.
    """
    check_positive("C", C_S)
    mean_D, deviation_D = moments(x_ND)
    scale_D = deviation_D if standardize else np.ones_like(deviation_D)
    z_ND = (x_ND - mean_D) / scale_D
    n_classes = int(y_N.max()) + 1
    layer_CD = np.zeros((n_classes, z_ND.shape[1] + 1))  # the last column is the intercept
    layers_SCD = np.empty((len(C_S), *layer_CD.shape))
    n_iter_S, fit_s = [0] * len(C_S), [0.0] * len(C_S)
    for s in np.argsort(C_S, kind="stable"):
        start = time.perf_counter()
        layer_CD, n_iter_S[s] = fit_one(z_ND, y_N, C_S[s] * weight_N, layer_CD, max_iter=max_iter, tol=tol)
        layers_SCD[s] = layer_CD
        fit_s[s] = time.perf_counter() - start
    coef_SCD, intercept_SC = folded(layers_SCD[:, :, :-1], layers_SCD[:, :, -1], mean_D, scale_D)
    return coef_SCD, intercept_SC, n_iter_S, fit_s


def fit_one(
    z_ND: Array, y_N: Array, weight_N: Array, layer_CD: Array, *, max_iter: int, tol: float
) -> tuple[Array, int]:
    """The optimal layer (C, D + 1), begun at another one, and the number of iterations; `weight_N` holds C."""
    # Of two classes scikit-learn has one column w, with |w|^2 / 2; here it is spread over two, w / 2 and -w / 2.
    penalty = 2.0 if len(layer_CD) == 2 else 1.0

    def objective(v: Array) -> tuple[float, Array]:
        w_CD, bias_C = np.split(v.reshape(layer_CD.shape), [-1], axis=1)
        loss_N, slope_NC = cross_entropy(z_ND @ w_CD.T.astype(np.float32) + bias_C.T, y_N)
        slope_NC *= weight_N[:, None]
        slope_CD = slope_NC.T.astype(np.float32) @ z_ND + penalty * w_CD
        slope = np.column_stack([slope_CD, slope_NC.sum(0)])
        return weight_N @ loss_N + penalty / 2 * (w_CD**2).sum(), slope.ravel()

    best, n_iter = minimise(objective, layer_CD.ravel(), max_iter=max_iter, tol=tol)
    if n_iter >= max_iter:
        warnings.warn(f"logistic regression stopped at max_iter={max_iter}", ConvergenceWarning, stacklevel=2)
    return best.reshape(layer_CD.shape), n_iter


def minimise(
    objective: Callable[[Array], tuple[float, Array]], x: Array, *, max_iter: int, tol: float
) -> tuple[Array, int]:
    """Where a smooth convex function is least, begun at `x`, and the number of iterations.

    L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with steps halved until they descend enough (Armijo 1966); it ends
    where a step gains less than `tol` of the value. SciPy's took 1.6 to 1.9 times as long, and up to 6 times where its
    BLAS and NumPy's, which are two, each keep threads awake on the same cores.
    """
    value, slope = objective(x)
    steps: deque[tuple[Array, Array, float]] = deque(maxlen=HISTORY)
    for n_iter in range(1, max_iter + 1):
        direction = -slope
        shares = []
        for moved, turned, curvature in reversed(steps):
            shares.append(moved @ direction / curvature)
            direction -= shares[-1] * turned
        # As long as the last step showed to be right; the first one is short.
        direction *= (
            steps[-1][2] / (steps[-1][1] @ steps[-1][1]) if steps else 1 / max(1, np.abs(slope).sum())
        )
        for (moved, turned, curvature), share in zip(steps, reversed(shares), strict=True):
            direction += (share - turned @ direction / curvature) * moved
        descent, length = slope @ direction, 1.0
        while True:
            new_value, new_slope = objective(x + length * direction)
            if new_value <= value + 1e-4 * length * descent or length < 1e-6:
                break
            length /= 2
        gain = value - new_value
        if gain <= 0:  # float32 has no better
            return x, n_iter
        moved, turned = length * direction, new_slope - slope
        if moved @ turned > 0:
            steps.append((moved, turned, float(moved @ turned)))
        x, value, slope = x + moved, new_value, new_slope
        if gain <= tol * abs(value):
            break
    return x, n_iter


def cross_entropy(logits_NC: Array, y_N: Array) -> tuple[Array, Array]:
    """Cross entropies (N,) and their slopes by the logits (N, C), both precise where a row is all but certain.

    There 1 - p is far below float32's resolution of p, and a strong C is about those rows alone; so everything is
    taken from the sum over the other classes.
    """
    rows = np.arange(len(y_N))
    ahead_NC = logits_NC - logits_NC[rows, y_N, None]
    top_N = ahead_NC.max(1)
    powers_NC = np.exp(ahead_NC - top_N[:, None])
    powers_NC[rows, y_N] = 0
    others_N = powers_NC.sum(1)
    whole_N = others_N + np.exp(-top_N)
    slope_NC = powers_NC / whole_N[:, None]
    slope_NC[rows, y_N] = -others_N / whole_N
    return top_N + np.log1p(others_N + np.expm1(-top_N)), slope_NC


def softmax(logits_NC: Array) -> Array:
    """Probabilities (N, C)."""
    powers_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    shares: Array = powers_NC / powers_NC.sum(1, keepdims=True)
    return shares
