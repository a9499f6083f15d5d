"""RBF kernels of more rows than a Gram matrix may have, by Nyström's approximation.

Some training rows are landmarks, and a row's features are `K(landmarks, landmarks)^(-1/2) K(landmarks, row)`: their
products are the kernel between landmarks, and near it elsewhere (Williams and Seeger 2001, "Using the Nyström Method
to Speed Up Kernel Machines"). Computed as scikit-learn's `Nystroem` does, but that rows are read in parts.

N: training rows. M: rows to predict. D: features. L: landmarks. C: classes. P: machines.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.heads.kernels import gamma_scale, gamma_value, kernel_values, rows_that_fit
from transfer.heads.linear import Layer, compute_moments
from transfer.heads.mapped import parts
from transfer.heads.products import multiply_rows
from transfer.system.errors import UserError
from transfer.system.hardware import available_bytes

Array = npt.NDArray[Any]

LANDMARKS = 1000
# Where memory has room for fewer, there is no approximation unless the user asks for it.
FEWEST_LANDMARKS = 100
# Smaller eigenvalues are rounding errors: those of landmarks that are equal, for one. As `Nystroem` has it.
LEAST_EIGENVALUE = 1e-12

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Training rows, standardised, in float64, class after class, whose kernel values stand for a row."""

    x_LD: Array
    counts_C: Array
    shift_D: Array
    scale_D: Array
    gamma: float

    def kernel(self, X: Array) -> Iterator[tuple[slice, Array]]:
        """Yield the slice of each part of rows (M, D), and its kernel values (B, L) with the landmarks."""
        for part in parts(len(X), sum(self.x_LD.shape)):
            x_BD = X[part] - self.shift_D
            x_BD /= self.scale_D
            products_BL = multiply_rows(x_BD, self.x_LD)
            yield part, kernel_values("rbf", self.gamma, products_BL, x_BD, self.x_LD, products_BL)

    def decide(self, X: Array, layers: Sequence[Layer]) -> list[Array]:
        """Return the values (M, P) of rows (M, D) by each of several layers of kernel values, (P, L) and (P,)."""
        values = [np.empty((len(X), len(coef_PL))) for coef_PL, _ in layers]
        for part, kernel_BL in self.kernel(X):
            for own_MP, (coef_PL, intercept_P) in zip(values, layers, strict=True):
                own_MP[part] = multiply_rows(kernel_BL, coef_PL) + intercept_P
        return values


class NystromRows:
    """Training rows and their landmarks; the features of one kernel at a time are kept.

    Parameters
    ----------
    X : (N, D) float32
        May be a memory map: it is read in parts, and never copied as a whole.
    y_N : (N,)
        Labels.
    n_landmarks : int
        At most N.
    standardize : bool
        Take the kernel of features of mean 0 and deviation 1.
    seed : int
        Of the draw of landmarks, which all kernels share.
    """

    def __init__(self, X: Array, y_N: Array, n_landmarks: int, standardize: bool, seed: int) -> None:
        self.X = X
        self.shift_D, self.scale_D = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if standardize:
            self.shift_D, self.scale_D = (own_D.astype(np.float64) for own_D in compute_moments(X))
        drawn_L = np.random.default_rng(seed).choice(len(X), n_landmarks, replace=False)
        drawn_L = drawn_L[np.argsort(y_N[drawn_L], kind="stable")]
        self.x_LD = (X[drawn_L] - self.shift_D) / self.scale_D
        self.counts_C = (y_N[drawn_L, None] == np.unique(y_N)).sum(0)
        self._kept: tuple[float, Landmarks, Array, Array] | None = None

    def features(self, gamma: float | str) -> tuple[Landmarks, Array, Array]:
        """Return the landmarks of a kernel, its features of all rows, and how they follow from kernel values.

        Parameters
        ----------
        gamma : float or {"scale", "auto"}
            As in `SVC`.

        Returns
        -------
        landmarks : Landmarks
        features : (N, L) float32
        root : (L, L) float64
            By which kernel values are multiplied; symmetric.
        """
        number = gamma_value(gamma, self._gamma_scale, self.X.shape[1])
        if self._kept is None or self._kept[0] != number:
            self._kept = None  # before there are others
            landmarks = Landmarks(self.x_LD, self.counts_C, self.shift_D, self.scale_D, number)
            products_LL = multiply_rows(self.x_LD, self.x_LD)
            value_L, vector_LL = np.linalg.eigh(
                kernel_values("rbf", number, products_LL, self.x_LD, self.x_LD, products_LL)
            )
            vector_LL /= np.maximum(value_L, LEAST_EIGENVALUE) ** 0.25
            root_LL = multiply_rows(vector_LL, vector_LL)
            z_NL = np.empty((len(self.X), len(root_LL)), np.float32)
            for part, kernel_BL in landmarks.kernel(self.X):
                z_NL[part] = multiply_rows(kernel_BL, root_LL)
            self._kept = number, landmarks, z_NL, root_LL
        return self._kept[1:]

    def _gamma_scale(self) -> float:
        """Return the gamma that `SVC` calls scale, from one pass over the rows."""
        about, total, squares = None, 0.0, 0.0
        for part in parts(len(self.X), self.X.shape[1]):
            x_BD = self.X[part] - self.shift_D
            x_BD /= self.scale_D
            about = x_BD.mean() if about is None else about  # sums about zero lose digits far from it
            x_BD -= about
            total, squares = total + x_BD.sum(), squares + np.square(x_BD).sum()
        return gamma_scale(squares / self.X.size - (total / self.X.size) ** 2, self.X.shape[1])


def landmarks_that_fit(n_rows: int, budget_gb: float | None) -> int:
    """Return the largest number of landmarks whose features, and whose own kernel, memory has room for.

    Parameters
    ----------
    n_rows : int
        Training rows.
    budget_gb : float or None
        Memory that they may take, in GB (10^9 bytes); None is a quarter of what is free, since these features come on
        top of rows that may fill most of it.
    """
    budget = available_bytes() / 4e9 if budget_gb is None else budget_gb
    return int(min(n_rows, rows_that_fit(budget), budget * 1e9 / (4 * n_rows)))


def choose_landmarks(kernels: Sequence[str], n_rows: int, wanted: int | None, budget_gb: float | None) -> int:
    """Choose how many landmarks an RBF kernel has where no Gram matrix is computed.

    Parameters
    ----------
    kernels : sequence of str
        Those to be fitted.
    n_rows : int
        Training rows.
    wanted : int or None
        As `SVM` takes `n_landmarks`.
    budget_gb : float or None
        As in `rows_that_fit` and `landmarks_that_fit`.

    Returns
    -------
    int
        0 if RBF is left out, which a logged warning says.

    Raises
    ------
    UserError
        If RBF is the only kernel and has no approximation, or more landmarks are wanted than memory has room for.
    """
    if "rbf" not in kernels:
        return 0
    fit = landmarks_that_fit(n_rows, budget_gb)
    if wanted:
        if min(wanted, n_rows) > fit:
            raise UserError(
                f"n_landmarks is {wanted:,}; memory has room for {fit:,} of {n_rows:,} training images; give at most "
                "so many"
            )
        return min(wanted, n_rows)
    why = (
        f"{n_rows:,} training images are too many for an RBF kernel in memory; "
        f"{rows_that_fit(budget_gb):,} would fit"
    )
    if wanted is None and fit >= FEWEST_LANDMARKS:
        found = min(LANDMARKS, fit)
        log.warning("%s: it is approximated by Nyström's method with %s landmarks", why, f"{found:,}")
        return found
    if "linear" not in kernels:
        raise UserError(f"{why}; a linear SVM takes any number")
    log.warning("%s: the RBF settings are left out, the linear ones are fitted", why)
    return 0
