"""Features made comparable: mean 0 and standard deviation 1, as the training rows have them.

N: rows. D: features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def moments(x_ND: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean (D,) and standard deviation (D,) of every feature; a constant feature gets the deviation 1."""
    # float32 sums over a million rows lose digits that the deviation needs.
    mean_D = x_ND.mean(0, dtype=np.float64)
    deviation_D = x_ND.std(0, dtype=np.float64)
    deviation_D[deviation_D <= 1e-7 * np.abs(mean_D)] = 1
    return mean_D.astype(np.float32), np.where(deviation_D > 0, deviation_D, 1).astype(np.float32)


def to_numpy(values: Any) -> Any:
    """A torch tensor of any device as a NumPy array; everything else as it is."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values
