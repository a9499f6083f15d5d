"""The optimum of multinomial logistic regression, along a path of penalties.

N: training rows. B: rows of a block. D: features. R: coordinates of rows, the lesser of N and D. C: classes.
"""

from __future__ import annotations

import warnings
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning

from transfer.heads.flushing import flush_thread, flushed
from transfer.heads.lbfgs import minimise
from transfer.heads.linear import folded, moments
from transfer.heads.mapped import MappedRows, parts, scale_rows
from transfer.heads.products import even_blocks, multiply_few, multiply_rows
from transfer.heads.threads import one_thread_each, pool_of_cores

Array = npt.NDArray[Any]

# Steps from zero after which it is known which rows matter.
FIRST_STEPS = 20


@dataclass(frozen=True)
class Rows:
    """Centred training rows, in an orthonormal basis of their span if there are fewer rows than features.

    The optimum lies in that span, since every row's gradient does, and a penalty on squared weights is the same in any
    orthonormal basis. Products are in float32: in float64 they take longer and end at the same optimum.
    """

    z_NR: Array | MappedRows
    basis_RD: Array | None
    mean_D: Array
    scale_D: Array

    @classmethod
    def of(cls, x_ND: Array, *, standardize: bool) -> Rows:
        """Centre rows, standardise them if asked to, and change the basis if that makes them shorter.

        Raises `ValueError` for rows whose products float32 can't hold.
        """
        mean_D, deviation_D = moments(x_ND)
        scale_D = deviation_D if standardize else np.ones_like(deviation_D)
        z_ND = scale_rows(x_ND, mean_D, scale_D)
        if not standardize:
            largest = max(float(np.abs(z_ND[part]).max()) for part in parts(*z_ND.shape))
            if x_ND.size * largest**2 > float(np.finfo(np.float32).max):
                raise ValueError(
                    "products of these features overflow float32; scale them, or use standardize=True"
                )
        if len(z_ND) >= z_ND.shape[1]:
            return cls(z_ND, None, mean_D, scale_D)
        basis_DR, z_RN = torch.linalg.qr(torch.from_numpy(z_ND[:]).T)
        return cls(z_RN.T.contiguous().numpy(), basis_DR.T.numpy(), mean_D, scale_D)

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
    known: Preconditioner | None = None,
    *,
    max_iter: int,
    tol: float,
) -> tuple[Array, int, Preconditioner | None]:
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
    known : Preconditioner, optional
        That of a similar penalty, to be used instead of one made at the starting point.
    max_iter : int
    tol : float
        The fit ends when five steps have gained less than this share of the value.

    Returns
    -------
    layer_CR : ndarray of shape (C, R + 1)
        Weights of the rows' coordinates; the last column is intercepts.
    n_iter : int
    preconditioner : Preconditioner or None
        The last one used, if any.
    """
    problem = Problem(rows.z_NR, y_N, C * weight_N)
    best, n_iter, converged = problem.zero() if begin_CR is None else begin_CR, 0, False
    preconditioner = known
    with flushed(), one_thread_each(), pool_of_cores(len(problem.blocks), flush_thread) as pool:
        for most in (FIRST_STEPS, max_iter) if begin_CR is None else (max_iter,):
            if not converged and n_iter < max_iter:
                preconditioner = known or problem.precondition(pool, best)
                found, n_more, converged = minimise(
                    partial(problem.evaluate, pool),
                    best.ravel(),
                    partial(preconditioner.apply, pool),
                    max_iter=min(most, max_iter - n_iter),
                    tol=tol,
                )
                best, n_iter = found.reshape(best.shape), n_iter + n_more
    if not converged:
        why = (
            f"at max_iter={max_iter}"
            if n_iter >= max_iter
            else f"after {n_iter} iterations, short of the optimum"
        )
        warnings.warn(f"logistic regression stopped {why}", ConvergenceWarning, stacklevel=2)
    return best, n_iter, preconditioner


@dataclass(frozen=True)
class Preconditioner:
    """An approximate inverse of the second derivative of a `Problem`, the same for every class."""

    inverse_RR: torch.Tensor
    intercept_scale: float
    blocks: list[slice]
    """Rows of the inverse that are taken by one core each."""

    def apply(self, pool: Executor, v: Array) -> Array:
        """Return the product with a flat slope."""
        slope_CR = v.reshape(-1, len(self.inverse_RR) + 1)
        weights_CR = torch.from_numpy(slope_CR[:, :-1])
        products = pool.map(lambda part: multiply_few(weights_CR, self.inverse_RR[part]).numpy(), self.blocks)
        return np.hstack([*products, self.intercept_scale * slope_CR[:, -1:]]).ravel()


class Problem:
    """The objective of one penalty, its slope, and an approximate inverse of its second derivative.

    Blocks of rows are given to the cores of a pool, and their sums are added in order, so that the result does not
    depend on which ends first. Layers have shape (C, R + 1); `minimise` takes and returns them flattened.

    Parameters
    ----------
    z_NR : (N, R) float32
    y_N : (N,) int
        Class indices.
    cost_N : (N,)
        Weight of each row's cross entropy.
    """

    def __init__(self, z_NR: Array | MappedRows, y_N: Array, cost_N: Array) -> None:
        self.z_NR, self.y_N, self.cost_N = z_NR, y_N, cost_N
        self.shape = int(y_N.max()) + 1, z_NR.shape[1] + 1
        self.blocks = even_blocks(len(y_N))
        # Of two classes scikit-learn has one column w, with |w|^2 / 2; here it is spread over two, w / 2 and -w / 2.
        self.penalty = 2.0 if self.shape[0] == 2 else 1.0

    def zero(self) -> Array:
        """Return the layer of zeros."""
        return np.zeros(self.shape, np.float32)

    def evaluate(self, pool: Executor, v: Array) -> tuple[float, Array]:
        """Return the value and the slope at a flat layer."""
        layer_CR = v.reshape(self.shape)

        def sums(block: slice) -> tuple[float, Array, Array]:
            z_BR = self.z_NR[block]
            loss_B, slope_CB = self._entropies(layer_CR, z_BR, block)
            slope_CB *= self.cost_N[block].astype(slope_CB.dtype)
            weights_CR = multiply_few(*map(torch.from_numpy, (slope_CB, z_BR.T))).numpy()
            return float(self.cost_N[block] @ loss_B), weights_CR, slope_CB.sum(1)

        value = self.penalty / 2 * float((layer_CR[:, :-1].astype(np.float64) ** 2).sum())
        slope_CR = self.penalty * layer_CR
        slope_CR[:, -1] = 0
        for loss, weights_CR, intercepts_C in pool.map(sums, self.blocks):
            value += loss
            slope_CR[:, :-1] += weights_CR
            slope_CR[:, -1] += intercepts_C
        return value, slope_CR.ravel()

    def precondition(self, pool: Executor, layer_CR: Array) -> Preconditioner:
        """Return the inverse of the second derivative at a layer, as if a row's curvature were its mean over classes.

        Rows that are all but certain have next to none. Weighing rows so halves the iterations that their mean needs.
        """

        def curvature(block: slice) -> Array:
            slope_CB = self._entropies(layer_CR, self.z_NR[block], block)[1]
            share_CB = np.abs(slope_CB)  # p, and 1 - p of the row's own class
            mean_B: Array = (share_CB * (1 - share_CB)).mean(0)
            return mean_B

        curvature_N = self.cost_N * np.concatenate(list(pool.map(curvature, self.blocks)))
        inverse_RR = _inverse(self.z_NR, curvature_N, self.penalty)
        intercept_scale = 1 / max(float(curvature_N.sum()), 1e-30)
        return Preconditioner(inverse_RR, intercept_scale, even_blocks(len(inverse_RR)))

    def _entropies(self, layer_CR: Array, z_BR: Array, block: slice) -> tuple[Array, Array]:
        """Return cross entropies (B,) of a block of rows, and their slopes (C, B) with respect to logits."""
        logits_BC = multiply_few(*map(torch.from_numpy, (z_BR, layer_CR[:, :-1]))).numpy()
        # With a class's logits side by side, sums over few classes are many times as fast.
        logits_CB = np.ascontiguousarray(logits_BC.T)
        logits_CB += layer_CR[:, -1:]
        loss_B, slope_BC = cross_entropy(logits_CB.T, self.y_N[block])
        return loss_B, slope_BC.T


def _inverse(z_NR: Array | MappedRows, curvature_N: Array, penalty: float) -> torch.Tensor:
    """Return the inverse of the penalty plus the sum over rows of their products, times their curvature."""

    def product(part: slice) -> torch.Tensor:
        scaled_RB = z_NR[part].T * np.sqrt(curvature_N[part]).astype(np.float32)
        scaled_RB = torch.from_numpy(scaled_RB).contiguous().numpy()  # faster than by NumPy
        return torch.from_numpy(multiply_rows(scaled_RB, scaled_RB))

    products = map(product, parts(*z_NR.shape))
    second_RR = sum(products, start=next(products))
    # Where the penalty is below what rounding leaves of the products, rounding counts.
    norm = float(torch.linalg.matrix_norm(second_RR, dtype=torch.float64))
    rounding = 100 * torch.finfo(second_RR.dtype).eps * norm
    second_RR.diagonal().add_(max(penalty, rounding))
    # LAPACK's matrices lie column by column; this one is symmetric.
    return torch.cholesky_inverse(torch.linalg.cholesky(second_RR)).T.contiguous()


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
