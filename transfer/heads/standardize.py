"""Features made comparable: mean 0 and standard deviation 1, as the training rows have them.

N: rows. B: rows of a part. D: features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import gen_batches

# Rows that are widened at a time, and stay in a core's cache.
PART = 256


def moments(x_ND: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean (D,) and standard deviation (D,) of every feature; a constant feature gets the deviation 1."""
    # float32 sums over a million rows lose digits that the deviation needs; a float64 copy of all rows is dear.
    about_D = x_ND[:PART].mean(0, dtype=np.float64)
    sum_D, squares_D = np.zeros_like(about_D), np.zeros_like(about_D)
    for part in gen_batches(len(x_ND), PART):
        away_BD = x_ND[part] - about_D
        sum_D += away_BD.sum(0)
        squares_D += np.einsum("bd,bd->d", away_BD, away_BD)
    away_D = sum_D / len(x_ND)
    mean_D = about_D + away_D
    deviation_D = np.sqrt(np.maximum(squares_D / len(x_ND) - away_D**2, 0))
    deviation_D[deviation_D <= 1e-7 * np.abs(mean_D)] = 1
    return mean_D.astype(np.float32), np.where(deviation_D > 0, deviation_D, 1).astype(np.float32)


def to_numpy(values: Any) -> Any:
    """A torch tensor of any device as a NumPy array; everything else as it is."""
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # NumPy has no bfloat16
