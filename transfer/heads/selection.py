"""The choice among a search's settings, made on validation predictions alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transfer import scores
from transfer.config import SELECT_BY, check_choice


def validation_row(
    params: dict[str, Any], y_N: npt.NDArray[Any], predicted_N: npt.NDArray[Any], fit_s: float
) -> dict[str, Any]:
    """One row of `cv_results_`: `{params, accuracy, macro_f1, fit_s}`."""
    names, codes = np.unique(np.concatenate([y_N, predicted_N]), return_inverse=True)
    truth, told = np.split(codes.astype(np.int64), 2)
    counts_CC = scores.confusion(truth, told, len(names))
    return {
        "params": params,
        "accuracy": float(scores.accuracy(counts_CC)),
        "macro_f1": float(scores.macro_f1(counts_CC)),
        "fit_s": fit_s,
    }


def best_of(rows: list[dict[str, Any]], select: str) -> int:
    """The index of the best row by `select`; equal ones by the other score, then the first in the grid."""
    check_choice("select", select, SELECT_BY)
    other = next(name for name in SELECT_BY if name != select)
    return max(range(len(rows)), key=lambda i: (rows[i][select], rows[i][other], -i))
