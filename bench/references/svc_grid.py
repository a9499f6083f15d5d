"""The SVM grid in the usual way: `GridSearchCV` over `SVC` on all cores, selected on a fixed validation part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def search(
    x_ND: npt.NDArray[np.float32],
    y_N: npt.NDArray[np.int64],
    n_train: int,
    *,
    kernels: Sequence[str],
    C: Sequence[float],
    n_jobs: int,
) -> Any:
    """A fitted `GridSearchCV`; the first `n_train` rows train, the others validate, and no winner is refitted."""
    fold = np.where(np.arange(len(y_N)) < n_train, -1, 0)
    return GridSearchCV(
        make_pipeline(StandardScaler(), SVC()),
        {"svc__kernel": list(kernels), "svc__C": list(C)},
        scoring="f1_macro",
        cv=PredefinedSplit(fold),
        n_jobs=n_jobs,
        refit=False,
    ).fit(x_ND, y_N)
