"""The products that every kernel of a grid is made of, computed once.

N: training rows. M: rows to predict. D: features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import UserError, check_choice
from transfer.environment import memory_gb
from transfer.heads.standardize import moments

Array = npt.NDArray[Any]
KERNELS = ("linear", "rbf")


@dataclass(frozen=True)
class Gram:
    """Training rows, moved to their mean, and the products that every kernel is made of.

    Moving all rows together changes no SVM (each machine's coefficients sum to zero, and distances stay), but
    keeps float32 products precise where features are far from zero.
    """

    x_ND: Array
    shift_D: Array
    scale_D: Array
    gamma_scale: float

    @classmethod
    def of(cls, X: Array, standardize: bool) -> Gram:
        mean_D, deviation_D = moments(X)
        scale_D = deviation_D if standardize else np.ones_like(deviation_D)
        x_ND = (X - mean_D) / scale_D
        # scikit-learn's gamma="scale" is taken before rows are moved: without standardisation the spread
        # between the features' means counts.
        variance = float((x_ND if standardize else X).var(dtype=np.float64))
        return cls(x_ND, mean_D, scale_D, 1 / (X.shape[1] * variance) if variance else 1.0)

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


def kernel_values(name: str, gamma: float, products_MN: Array, x_MD: Array, x_ND: Array) -> Array:
    """Kernel values (M, N) float64, as libsvm takes them, from the products of the rows."""
    if name == "linear":
        return products_MN.astype(np.float64)
    squares_M = np.einsum("md,md->m", x_MD, x_MD, dtype=np.float64)
    squares_N = np.einsum("nd,nd->n", x_ND, x_ND, dtype=np.float64)
    kernel_MN: Array = products_MN * np.float64(-2)
    kernel_MN += squares_M[:, None]
    kernel_MN += squares_N
    np.maximum(kernel_MN, 0, out=kernel_MN)
    kernel_MN *= -gamma
    return np.exp(kernel_MN, out=kernel_MN)


def check_memory(n_rows: int, budget_gb: float | None) -> None:
    """Refuse, before anything is allocated, a Gram matrix that would not fit."""
    needed = n_rows**2 * (4 + 2 * 8) / 1e9  # float32 products, and a float64 kernel with a copy in libsvm
    budget = memory_gb() / 4 if budget_gb is None else budget_gb
    if needed > budget:
        fits = int((budget * 1e9 / 20) ** 0.5)
        raise UserError(
            f"an SVM on {n_rows:,} training images needs {needed:.1f} GB, and may take {budget:.1f}; "
            f"{fits:,} images would fit (leave the SVM methods out, as in --methods fc)"
        )
