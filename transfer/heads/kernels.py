"""Products of rows, from which every kernel of a grid is computed.

N: training rows, class after class. M: rows to predict. D: features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler

from transfer.heads.products import multiply_rows
from transfer.heads.threads import pool_of_cores
from transfer.system.errors import check_choice
from transfer.system.hardware import memory_gb

Array = npt.NDArray[Any]
KERNELS = ("linear", "rbf")
BLOCK_ROWS = 64  # of a kernel, computed while they lie in a core's cache
BYTES_A_PRODUCT = 8 + 8  # the products, and the kernel that is being solved


@dataclass(frozen=True)
class Gram:
    """Training rows in float64, and the products from which every kernel is computed.

    The rows of a class are contiguous, in their order: libsvm solves class against class, and finds the kernel of two
    classes in one place. Products of float32, or of centred rows, would do for most data, but where a linear SVM on raw
    features takes many steps the last digits decide where libsvm stops: of scikit-learn's breast cancer data, 8 of 228
    predictions at C = 100 differed from those of `SVC`, which computes in float64.
    """

    x_ND: Array
    y_N: Array
    shift_D: Array
    scale_D: Array
    gamma_scale: float

    @classmethod
    def of(cls, X: Array, y: Array, standardize: bool) -> Gram:
        """Copy the rows to float64 in the order of their classes, and standardise them if asked to."""
        order_N = np.argsort(y, kind="stable")
        x_ND = X[order_N].astype(np.float64)
        shift_D, scale_D = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if standardize:
            scaler = StandardScaler(copy=False).fit(x_ND)
            shift_D, scale_D = scaler.mean_, scaler.scale_
            x_ND = scaler.transform(x_ND)
        return cls(x_ND, y[order_N], shift_D, scale_D, gamma_scale(float(x_ND.var()), X.shape[1]))

    def prepare(self, X: Array) -> Array:
        """Transform rows to predict (M, D) as the training rows were."""
        prepared: Array = (X.astype(np.float64) - self.shift_D) / self.scale_D
        return prepared

    def products(self, x_MD: Array) -> Array:
        """Return the products (M, N) of prepared rows with the training rows."""
        return multiply_rows(x_MD, self.x_ND)

    def kernel(
        self, name: str, gamma: float | str, x_MD: Array, products_MN: Array, out: Array | None = None
    ) -> Array:
        """Return the kernel values of prepared rows with the training rows.

        Parameters
        ----------
        name : {"linear", "rbf"}
        gamma : float or {"scale", "auto"}
            As in `SVC`.
        x_MD : (M, D)
            Rows as `prepare` returns them.
        products_MN : (M, N)
            Their products with the training rows.
        out : (M, N), optional
            Where an RBF kernel is written to; may be `products_MN`.

        Returns
        -------
        (M, N) float64
        """
        return kernel_values(name, self.gamma(gamma), products_MN, x_MD, self.x_ND, out)

    def gamma(self, gamma: float | str) -> float:
        """Return the number that `gamma` stands for, as in `SVC`."""
        return gamma_value(gamma, lambda: self.gamma_scale, self.x_ND.shape[1])


def gamma_value(gamma: float | str, scale: Callable[[], float], n_features: int) -> float:
    """Return the number that `gamma` stands for, as in `SVC`, where `scale` computes what it calls so."""
    if isinstance(gamma, str):
        check_choice("gamma", gamma, ("scale", "auto"))
        return scale() if gamma == "scale" else 1 / n_features
    return gamma


def gamma_scale(variance: float, n_features: int) -> float:
    """Return the gamma that `SVC` calls scale, from the variance of all features together."""
    return 1 / (n_features * variance) if variance else 1.0


def kernel_values(
    name: str, gamma: float, products_MN: Array, x_MD: Array, x_ND: Array, out: Array | None = None
) -> Array:
    """Return kernel values from the products of two sets of rows.

    Parameters
    ----------
    name : {"linear", "rbf"}
    gamma : float
    products_MN : (M, N)
        Returned as they are for a linear kernel.
    x_MD, x_ND : (M, D) and (N, D)
        The rows; if they are one array, half of the kernel is computed.
    out : (M, N), optional
        Where an RBF kernel is written to; may be `products_MN`.

    Returns
    -------
    (M, N)
    """
    if name == "linear":
        return products_MN
    kernel_MN = np.empty(products_MN.shape) if out is None else out
    own = x_MD is x_ND
    near_M, near_N = gamma * squares(x_MD), gamma * squares(x_ND)

    def fill(start: int) -> None:
        rows, columns = slice(start, start + BLOCK_ROWS), slice(start if own else 0, None)
        block = np.multiply(products_MN[rows, columns], 2 * gamma, out=kernel_MN[rows, columns])
        block -= near_M[rows, None]
        block -= near_N[columns]
        np.minimum(block, 0, out=block)
        np.exp(block, out=block)
        if own:
            kernel_MN[rows.stop :, rows] = block[:, BLOCK_ROWS:].T

    starts = range(0, len(kernel_MN), BLOCK_ROWS)
    with pool_of_cores(len(starts)) as pool:
        list(pool.map(fill, starts))
    return kernel_MN


def squares(x_ND: Array) -> Array:
    """Return the squared length of every row (N,)."""
    lengths_N: Array = np.einsum("nd,nd->n", x_ND, x_ND)
    return lengths_N


def rows_that_fit(budget_gb: float | None) -> int:
    """Return the largest number of training rows for a Gram matrix.

    Parameters
    ----------
    budget_gb : float or None
        Memory that the matrix may take, in GB (10^9 bytes); None is a quarter of the machine's.
    """
    budget = memory_gb() / 4 if budget_gb is None else budget_gb
    return int(min((budget * 1e9 / BYTES_A_PRODUCT) ** 0.5, sys.maxsize))
