"""The optimum of multinomial logistic regression, along a path of penalties.

N: training rows. S: those of a sample. B: rows of a block. D: features. R: coordinates of rows, the lesser of N and D.
C: classes.
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

from transfer.heads.curvature import MOST_JOINT, OVERFLOW, Preconditioner, principal_axes, sum_curvature, turn
from transfer.heads.flushing import flush_thread, flushed
from transfer.heads.lbfgs import minimise
from transfer.heads.linear import Layer, compute_moments, fold_scale
from transfer.heads.mapped import MappedRows, parts, scale_rows
from transfer.heads.products import even_blocks, multiply_few, multiply_rows
from transfer.heads.threads import one_thread_each, pool_of_cores

Array = npt.NDArray[Any]

# Steps from zero after which it is known which rows matter, and the gain below which they end.
FIRST_STEPS, FIRST_TOL = 10, 1e-3
# Steps after which other rows may matter, and coordinates are chosen again. Of many rows a sample would say too little.
STEPS_EACH = 100
# Rows from which curvature is estimated. To turn more into other coordinates would take longer than it saves.
MOST_SAMPLED = 8192


@dataclass(frozen=True)
class SpannedRows:
    """Centred training rows, in orthonormal coordinates if they are few, and what is known of the optimum.

    The optimum lies in the span of the rows, since every row's gradient does, and a penalty on squared weights is the
    same in any orthonormal coordinates. Products are in float32: in float64 they take longer and end at the same
    optimum.
    """

    z_NR: Array | MappedRows
    basis_RD: Array | None
    mean_D: Array
    scale_D: Array
    start_CR: Array
    """A layer on the way to the optimum of the strongest penalty, without class weights."""
    sample_S: slice | Array
    """Rows from which curvature is estimated: all, or some of many."""
    turned_SR: Array
    """These, in coordinates in which curvature there is diagonal."""
    axes_RR: Array | None
    """These coordinates, in columns; None: those of `z_NR`."""

    @classmethod
    def of(cls, x_ND: Array, y_N: Array, C: float, *, standardize: bool) -> SpannedRows:
        """Centre rows, standardise them if asked to, and turn few rows into other coordinates.

        Parameters
        ----------
        x_ND : (N, D) float32
        y_N : (N,) int
            Class indices.
        C : float
            Of the first fit.
        standardize : bool

        Raises
        ------
        ValueError
            For rows whose products float32 can't hold.
        """
        mean_D, deviation_D = compute_moments(x_ND)
        scale_D = deviation_D if standardize else np.ones_like(deviation_D)
        z_NR, basis_RD = scale_rows(x_ND, mean_D, scale_D), None
        if not standardize:
            largest = max(float(np.abs(z_NR[part]).max()) for part in parts(*z_NR.shape))
            if x_ND.size * largest**2 > float(np.finfo(np.float32).max):
                raise ValueError(OVERFLOW)
        if len(z_NR) < z_NR.shape[1]:
            basis_DR, z_RN = torch.linalg.qr(torch.from_numpy(z_NR[:]).T)
            z_NR, basis_RD = z_RN.T.contiguous().numpy(), basis_DR.T.numpy()
        few = len(z_NR) <= MOST_SAMPLED
        rng = np.random.default_rng(0)
        sample_S = slice(None) if few else np.sort(rng.choice(len(z_NR), MOST_SAMPLED, replace=False))
        z_SR, y_S = z_NR[sample_S], y_N[sample_S]
        cost_S = np.full(len(y_S), C * len(y_N) / len(y_S))
        start_CR, slope_CS = _first_steps(Problem(z_SR, y_S, cost_S, int(y_N.max()) + 1))
        axes_RR = principal_axes(z_SR, slope_CS, cost_S)
        turned_SR = multiply_rows(z_SR, axes_RR.T)
        if not few:
            return cls(z_NR, basis_RD, mean_D, scale_D, start_CR, sample_S, turned_SR, axes_RR)
        basis_RD = axes_RR.T if basis_RD is None else axes_RR.T @ basis_RD
        start_CR = turn(start_CR, axes_RR)
        return cls(turned_SR, basis_RD, mean_D, scale_D, start_CR, sample_S, turned_SR, None)

    def fold(self, layer_CR: Array) -> Layer:
        """Return weights (C, D) and intercepts (C,) for raw features; the last column of `layer_CR` is intercepts."""
        weights_CD = layer_CR[:, :-1]
        if self.basis_RD is not None:
            weights_CD = weights_CD @ self.basis_RD
        return fold_scale(weights_CD, layer_CR[:, -1], self.mean_D, self.scale_D)


def _first_steps(problem: Problem) -> tuple[Array, Array]:
    """Return a layer after some steps from zero, and the slopes there."""
    with flushed(), one_thread_each(), pool_of_cores(len(problem.blocks), flush_thread) as pool:
        zero_CR = np.zeros(problem.shape, np.float32)
        sums = problem.sum_curvature(pool, zero_CR)
        found, _, _ = minimise(
            partial(problem.evaluate, pool),
            zero_CR.ravel(),
            Preconditioner.of(sums, len(zero_CR), problem.penalty, None).apply,
            max_iter=FIRST_STEPS if len(zero_CR) <= MOST_JOINT else 0,  # of many classes they save none
            tol=FIRST_TOL,
        )
        layer_CR = found.reshape(problem.shape)
        return layer_CR, problem.slopes(layer_CR)


def fit_layer(
    rows: SpannedRows,
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
    rows : SpannedRows
    y_N : (N,) int
        Class indices.
    C : float
        Weight of the cross entropies against half the squared weights.
    weight_N : (N,)
        Weight of each row's cross entropy.
    begin_CR : ndarray of shape (C, R + 1), optional
        Starting point, that of the rows by default.
    max_iter : int
    tol : float
        The fit ends when five steps have gained less than this share of the value.

    Returns
    -------
    layer_CR : ndarray of shape (C, R + 1)
        Weights of the rows' coordinates; the last column is intercepts.
    n_iter : int
    """
    problem = Problem(rows.z_NR, y_N, C * weight_N)
    layer_CR, n_iter, converged = rows.start_CR if begin_CR is None else begin_CR, 0, False
    each = more = STEPS_EACH if rows.axes_RR is None else max_iter
    with flushed(), one_thread_each(), pool_of_cores(len(problem.blocks), flush_thread) as pool:
        while not converged and more == each and n_iter < max_iter:
            found, more, converged = minimise(
                partial(problem.evaluate, pool),
                layer_CR.ravel(),
                _precondition(rows, problem, pool, layer_CR, again=n_iter > 0).apply,
                max_iter=min(each, max_iter - n_iter),
                tol=tol,
            )
            layer_CR, n_iter = found.reshape(problem.shape), n_iter + more
    if not converged:
        why = (
            f"at max_iter={max_iter}"
            if n_iter >= max_iter
            else f"after {n_iter} iterations, short of the optimum"
        )
        warnings.warn(f"logistic regression stopped {why}", ConvergenceWarning, stacklevel=2)
    return layer_CR, n_iter


def _precondition(
    rows: SpannedRows, problem: Problem, pool: Executor, layer_CR: Array, *, again: bool
) -> Preconditioner:
    """Return an approximate inverse of the second derivative at a layer, in coordinates chosen `again` or the rows'."""
    y_S, cost_S, n_classes = problem.y_N[rows.sample_S], problem.cost_N[rows.sample_S], len(layer_CR)
    cost_S = cost_S * (len(problem.y_N) / len(y_S))
    turned_SR, axes_RR = rows.turned_SR, rows.axes_RR
    if again:
        z_SR = rows.z_NR[rows.sample_S]
        axes_RR = principal_axes(z_SR, Problem(z_SR, y_S, cost_S, n_classes).slopes(layer_CR), cost_S)
        turned_SR = multiply_rows(z_SR, axes_RR.T)
    if axes_RR is not None:
        layer_CR = turn(layer_CR, axes_RR)
    sums = Problem(turned_SR, y_S, cost_S, n_classes).sum_curvature(pool, layer_CR)
    return Preconditioner.of(sums, n_classes, problem.penalty, axes_RR)


class Problem:
    """The objective of one penalty, its slope, and sums of its curvature.

    Blocks of rows are given to the cores of a pool, and their sums are added in order, so that the result does not
    depend on which ends first. Layers have shape (C, R + 1); `minimise` takes and returns them flattened.

    Parameters
    ----------
    z_NR : (N, R) float32
    y_N : (N,) int
        Class indices.
    cost_N : (N,)
        Weight of each row's cross entropy.
    n_classes : int, optional
        One more than the largest class index by default.
    """

    def __init__(
        self, z_NR: Array | MappedRows, y_N: Array, cost_N: Array, n_classes: int | None = None
    ) -> None:
        self.z_NR, self.y_N, self.cost_N = z_NR, y_N, cost_N
        self.shape = n_classes or int(y_N.max()) + 1, z_NR.shape[1] + 1
        self.blocks = even_blocks(len(y_N))
        # Of two classes scikit-learn has one column w, with |w|^2 / 2; here it is spread over two, w / 2 and -w / 2.
        self.penalty = 2.0 if self.shape[0] == 2 else 1.0

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

    def sum_curvature(self, pool: Executor, layer_CR: Array) -> Array:
        """Return what `curvature.sum_curvature` does for all rows, at a layer, in float64."""
        largest = float(self.cost_N.max()) or 1.0  # with it, sums might overflow float32

        def sums(block: slice) -> Array:
            z_BR = self.z_NR[block]
            slope_CB = self._entropies(layer_CR, z_BR, block)[1]
            return sum_curvature(z_BR, slope_CB, self.y_N[block], self.cost_N[block] / largest)

        whole_XK: Array = np.stack(list(pool.map(sums, self.blocks))).sum(0, dtype=np.float64)
        return largest * whole_XK

    def slopes(self, layer_CR: Array) -> Array:
        """Return the derivatives of all cross entropies with respect to logits (C, N)."""
        everything = slice(None)
        return self._entropies(layer_CR, self.z_NR[everything], everything)[1]

    def _entropies(self, layer_CR: Array, z_BR: Array, block: slice) -> tuple[Array, Array]:
        """Return cross entropies (B,) of a block of rows, and their slopes (C, B) with respect to logits."""
        logits_BC = multiply_few(*map(torch.from_numpy, (z_BR, layer_CR[:, :-1]))).numpy()
        # With a class's logits side by side, sums over few classes are many times as fast.
        logits_CB = np.ascontiguousarray(logits_BC.T)
        logits_CB += layer_CR[:, -1:]
        loss_B, slope_BC = cross_entropy(logits_CB.T, self.y_N[block])
        return loss_B, slope_BC.T


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
