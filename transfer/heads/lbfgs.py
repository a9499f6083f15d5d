"""The optimum of multinomial logistic regression, along a path of penalties.

N: training rows. D: features. R: coordinates of rows, the lesser of N and D. C: classes. S: settings.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning

from transfer.heads.linear import folded, moments
from transfer.heads.products import even_blocks, multiply_rows
from transfer.system.hardware import usable_cores

Array = npt.NDArray[Any]

# Steps that L-BFGS remembers.
HISTORY = 10
# Steps whose gain says whether to stop: single ones vary.
LAST_STEPS = 5
# Steps from zero after which it is known which rows matter.
FIRST_STEPS = 20
# Where no step gains anything, the share of the value that the slope promised and rounding does not explain.
UNREACHED = 1e-3


@dataclass(frozen=True)
class Rows:
    """Centred training rows, in an orthonormal basis of their span if there are fewer rows than features.

    The optimum lies in that span, since every row's gradient does, and a penalty on squared weights is the same in any
    orthonormal basis. Products are in float32: in float64 they take longer and end at the same optimum.
    """

    z_NR: Array
    basis_RD: Array | None
    mean_D: Array
    scale_D: Array

    @classmethod
    def of(cls, x_ND: Array, *, standardize: bool) -> Rows:
        """Centre rows, standardise them if asked to, and change the basis if that makes them shorter."""
        mean_D, deviation_D = moments(x_ND)
        scale_D = deviation_D if standardize else np.ones_like(deviation_D)
        z_ND = (x_ND - mean_D) / scale_D
        if len(z_ND) >= z_ND.shape[1]:
            return cls(z_ND, None, mean_D, scale_D)
        basis_DR, z_RN = torch.linalg.qr(torch.from_numpy(z_ND.astype(np.float64)).T)
        return cls(z_RN.T.contiguous().float().numpy(), basis_DR.T.numpy(), mean_D, scale_D)

    def fold(self, layer_CR: Array) -> tuple[Array, Array]:
        """Return weights (C, D) and intercepts (C,) for raw features; the last column of `layer_CR` is intercepts."""
        weights_CD = layer_CR[:, :-1]
        if self.basis_RD is not None:
            weights_CD = weights_CD @ self.basis_RD
        coef, intercept = folded(weights_CD[None], layer_CR[None, :, -1], self.mean_D, self.scale_D)
        return coef[0], intercept[0]


def fit_layer(
    rows: Rows,
    y_N: Array,
    C: float,
    weight_N: Array,
    begin_CR: Array | None = None,
    *,
    max_iter: int,
    tol: float,
) -> tuple[Array, int]:
    """Fit the optimal layer for one penalty.

    Parameters
    ----------
    rows : Rows
    y_N : (N,) int
        Class indices.
    C : float
        Weight of the cross entropies against half the squared weights.
    weight_N : (N,)
        Weight of each row's cross entropy.
    begin_CR : ndarray of shape (C, R + 1), optional
        Starting point, zero by default.
    max_iter : int
    tol : float
        The fit ends when five steps have gained less than this share of the value.

    Returns
    -------
    layer_CR : ndarray of shape (C, R + 1)
        Weights of the rows' coordinates; the last column is intercepts.
    n_iter : int
    """
    z_NR, cost_N = rows.z_NR, C * weight_N
    shape = int(y_N.max()) + 1, z_NR.shape[1] + 1
    # Of two classes scikit-learn has one column w, with |w|^2 / 2; here it is spread over two, w / 2 and -w / 2.
    penalty = 2.0 if shape[0] == 2 else 1.0
    blocks = even_blocks(len(y_N))

    def entropies(block: slice, layer_CR: Array) -> tuple[Array, Array]:
        """Return cross entropies (B,) of a block of rows and their slopes (C, B), whose rows are contiguous."""
        logits_CB = layer_CR[:, :-1] @ z_NR[block].T
        logits_CB += layer_CR[:, -1:]
        loss_B, slope_BC = cross_entropy(
            logits_CB.T, y_N[block]
        )  # several times as fast as of rows of few classes
        return loss_B, slope_BC.T

    with ThreadPoolExecutor(usable_cores()) as pool:

        def objective(v: Array) -> tuple[float, Array]:
            layer_CR = v.reshape(shape)

            def part(block: slice) -> tuple[float, Array, Array]:
                loss_B, slope_CB = entropies(block, layer_CR)
                slope_CB *= cost_N[block].astype(slope_CB.dtype)
                return float(cost_N[block] @ loss_B), slope_CB @ z_NR[block], slope_CB.sum(1)

            slope_CR = penalty * layer_CR
            slope_CR[:, -1] = 0
            value = penalty / 2 * float((layer_CR[:, :-1].astype(np.float64) ** 2).sum())
            for loss, weights_CR, intercepts_C in pool.map(part, blocks):
                value += loss
                slope_CR[:, :-1] += weights_CR
                slope_CR[:, -1] += intercepts_C
            return value, slope_CR.ravel()

        def preconditioner(layer_CR: Array) -> Callable[[Array], Array]:
            """Return the inverse of the second derivative at a layer, if a row had the same curvature in all classes."""

            def curvatures(block: slice) -> Array:
                share_CB = np.abs(entropies(block, layer_CR)[1])  # p, and 1 - p of the row's own class
                mean_B: Array = (share_CB * (1 - share_CB)).mean(0)
                return mean_B

            curvature_N = cost_N * np.concatenate(list(pool.map(curvatures, blocks)))
            inverse_RR = _inverse(z_NR, curvature_N, penalty)
            intercept_scale = 1 / max(float(curvature_N.sum()), 1e-30)
            columns = even_blocks(shape[1] - 1)

            def precondition(v: Array) -> Array:
                slope_CR = v.reshape(shape)
                out_CR = np.empty_like(slope_CR)

                def fill(part: slice) -> None:
                    out_CR[:, :-1][:, part] = slope_CR[:, :-1] @ inverse_RR[:, part]

                list(pool.map(fill, columns))
                out_CR[:, -1] = intercept_scale * slope_CR[:, -1]
                return out_CR.ravel()

            return precondition

        best, n_iter, converged = np.zeros(shape, z_NR.dtype) if begin_CR is None else begin_CR, 0, False
        for most in (FIRST_STEPS, max_iter) if begin_CR is None else (max_iter,):
            if not converged and n_iter < max_iter:
                found, n_more, converged = minimise(
                    objective,
                    best.ravel(),
                    preconditioner(best),
                    max_iter=min(most, max_iter - n_iter),
                    tol=tol,
                )
                best, n_iter = found.reshape(shape), n_iter + n_more
    if not converged:
        why = (
            f"at max_iter={max_iter}"
            if n_iter >= max_iter
            else f"after {n_iter} iterations, short of the optimum"
        )
        warnings.warn(f"logistic regression stopped {why}", ConvergenceWarning, stacklevel=2)
    return best, n_iter


def _inverse(z_NR: Array, curvature_N: Array, penalty: float) -> Array:
    """Return the inverse of the penalty plus the sum over rows of their products, times their curvature."""
    scaled_RN = z_NR.T * np.sqrt(curvature_N).astype(z_NR.dtype)
    second_RR = torch.from_numpy(multiply_rows(scaled_RN, scaled_RN))
    # Where the penalty is below what rounding leaves of the products, rounding counts.
    norm = float(torch.linalg.matrix_norm(second_RR, dtype=torch.float64))
    rounding = 100 * torch.finfo(second_RR.dtype).eps * norm
    second_RR.diagonal().add_(max(penalty, rounding))
    inverse_RR: Array = torch.cholesky_inverse(torch.linalg.cholesky(second_RR)).numpy()
    return inverse_RR


def minimise(
    objective: Callable[[Array], tuple[float, Array]],
    x: Array,
    precondition: Callable[[Array], Array] = lambda v: v,
    *,
    max_iter: int,
    tol: float,
) -> tuple[Array, int, bool]:
    """Minimise a smooth convex function by preconditioned L-BFGS.

    L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with steps halved until they descend enough (Armijo 1966); it ends
    when `LAST_STEPS` steps have gained less than `tol` of the value. SciPy's has no preconditioner, which saves most of
    the iterations.

    Parameters
    ----------
    objective : callable
        From a point to the value and the gradient.
    x : ndarray
        Starting point.
    precondition : callable
        A linear function that approximates the inverse second derivative.
    max_iter : int
    tol : float

    Returns
    -------
    x : ndarray
    n_iter : int
    converged : bool
    """
    value, slope = objective(x)
    guessed = precondition(slope)  # of sums it is the sum, so that it is applied once an iteration
    steps: deque[tuple[Array, Array, Array, float]] = deque(maxlen=HISTORY)
    scale: Any = 1.0  # the guess is taken as it is until steps have shown better
    values = deque([value], maxlen=LAST_STEPS + 1)
    converged, n_iter = False, 0
    for n_iter in range(1, max_iter + 1):
        rest, direction = -slope, -guessed
        shares = []
        for moved, turned, guessed_turn, curvature in reversed(steps):
            shares.append(moved @ rest / curvature)
            rest -= shares[-1] * turned
            direction -= shares[-1] * guessed_turn
        direction *= scale
        for (moved, turned, _, curvature), share in zip(steps, reversed(shares), strict=True):
            direction += (share - turned @ direction / curvature) * moved
        descent, length = float(slope @ direction), 1.0
        if -descent <= tol / 100 * abs(value):  # no step could gain more
            return x, n_iter, True
        while True:
            new_value, new_slope = objective(x + length * direction)
            if new_value <= value + 1e-4 * length * descent or length < 1e-6:
                break
            length /= 2
        gain = value - new_value
        if gain <= 0:  # there is no better one in this precision
            return x, n_iter, bool(-descent <= UNREACHED * abs(value))
        moved, turned = length * direction, new_slope - slope
        new_guessed = precondition(new_slope)
        if moved @ turned > 0:
            steps.append((moved, turned, new_guessed - guessed, float(moved @ turned)))
            # As long as the last step shows to be right.
            scale = steps[-1][3] / (turned @ steps[-1][2])
        x, value, slope, guessed = x + moved, new_value, new_slope, new_guessed
        values.append(value)
        if len(values) > LAST_STEPS and values[0] - value <= tol * abs(value):
            converged = True
            break
    return x, n_iter, converged


def cross_entropy(logits_NC: Array, y_N: Array) -> tuple[Array, Array]:
    """Return cross entropies (N,) and their gradients with respect to the logits (N, C), which take the logits' place.

    Both are precise where a row is all but certain. There 1 - p is far below float32's resolution of p, and with a
    large C only those rows matter; so everything is computed from the sum over the other classes.
    """
    rows = np.arange(len(y_N))
    slope_NC = logits_NC
    slope_NC -= logits_NC[rows, y_N, None]
    top_N = slope_NC.max(1)
    slope_NC -= top_N[:, None]
    np.exp(slope_NC, out=slope_NC)
    slope_NC[rows, y_N] = 0
    others_N = slope_NC.sum(1)
    whole_N = others_N + np.exp(-top_N)
    slope_NC /= whole_N[:, None]
    slope_NC[rows, y_N] = -others_N / whole_N
    return top_N + np.log1p(others_N + np.expm1(-top_N)), slope_NC


def softmax(logits_NC: Array) -> Array:
    """Return probabilities (N, C)."""
    powers_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    shares: Array = powers_NC / powers_NC.sum(1, keepdims=True)
    return shares
