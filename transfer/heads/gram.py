"""The products that every kernel of a grid is made of, computed once.

N: training rows, class after class. M: rows to predict. D: features.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import check_choice
from transfer.environment import memory_gb, usable_cores
from transfer.heads.standardize import moments

Array = npt.NDArray[Any]
KERNELS = ("linear", "rbf")
BLOCK_ROWS = 64  # of a kernel, done with while they lie in a core's cache
BYTES_A_PRODUCT = 4 + 8  # in float32, and the float64 kernel that is being solved


@dataclass(frozen=True)
class Gram:
    """Training rows, moved to their mean, and the products that every kernel is made of.

    Moving all rows together changes no SVM (each machine's coefficients sum to zero, and distances stay), but
    keeps float32 products precise where features are far from zero. The rows of a class stand together, in
    their order: libsvm solves class against class, and finds the kernel of two classes in one place.
    """

    x_ND: Array
    y_N: Array
    shift_D: Array
    scale_D: Array
    gamma_scale: float

    @classmethod
    def of(cls, X: Array, y: Array, standardize: bool) -> Gram:
        mean_D, deviation_D = moments(X)
        scale_D = deviation_D if standardize else np.ones_like(deviation_D)
        order_N = np.argsort(y, kind="stable")
        x_ND = X[order_N]
        x_ND -= mean_D
        x_ND /= scale_D
        # scikit-learn's gamma="scale" is taken before rows are moved: without standardisation the spread
        # between the features' means counts.
        spread = 0.0 if standardize else X.shape[1] * float(mean_D.var(dtype=np.float64))
        variance = float(squares(x_ND).mean()) + spread
        return cls(x_ND, y[order_N], mean_D, scale_D, 1 / variance if variance else 1.0)

    def prepare(self, X: Array) -> Array:
        prepared: Array = (X - self.shift_D) / self.scale_D
        return prepared

    def products(self, x_MD: Array) -> Array:
        products_MN: Array = x_MD @ self.x_ND.T
        return products_MN

    def gamma(self, gamma: float | str) -> float:
        if isinstance(gamma, str):
            check_choice("gamma", gamma, ("scale", "auto"))
            return self.gamma_scale if gamma == "scale" else 1 / self.x_ND.shape[1]
        return gamma


def kernel_values(
    name: str, gamma: float, products_MN: Array, x_MD: Array, x_ND: Array, out_MN: Array | None = None
) -> Array:
    """Kernel values (M, N) float64, as libsvm takes them, from the products of the rows; into `out_MN` if given."""
    kernel_MN: Array = np.empty(products_MN.shape) if out_MN is None else out_MN
    if name == "linear":
        kernel_MN[:] = products_MN
        return kernel_MN
    near_M, near_N = gamma * squares(x_MD), gamma * squares(x_ND)

    def fill(start: int) -> None:
        rows = slice(start, start + BLOCK_ROWS)
        block = np.multiply(products_MN[rows], 2 * gamma, out=kernel_MN[rows])
        block -= near_M[rows, None]
        block -= near_N
        np.minimum(block, 0, out=block)
        np.exp(block, out=block)

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(fill, range(0, len(kernel_MN), BLOCK_ROWS)))
    return kernel_MN


def squares(x_ND: Array) -> Array:
    """The squared length of every row (N,) float64."""
    lengths_N: Array = np.einsum("nd,nd->n", x_ND, x_ND, dtype=np.float64)
    return lengths_N


def rows_that_fit(budget_gb: float | None) -> int:
    """How many training rows a Gram matrix may have (None: a quarter of the machine's memory)."""
    budget = memory_gb() / 4 if budget_gb is None else budget_gb
    return int(min((budget * 1e9 / BYTES_A_PRODUCT) ** 0.5, sys.maxsize))
