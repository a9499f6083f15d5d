"""The SVM grid in the usual way: `GridSearchCV` over `SVC` on all cores, selected on a fixed validation part."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bench.features import Rows

KERNELS, GRID_C = ("linear", "rbf"), (0.01, 0.1, 1, 10, 100)


def one(rows: Rows, kernel: str, C: float) -> Any:
    """Fit one setting to the training rows."""
    return make_pipeline(StandardScaler(), SVC(kernel=kernel, C=C)).fit(rows.x_train, rows.y_train)


def search(rows: Rows, *, n_jobs: int, svc: Any = SVC) -> tuple[GridSearchCV, Any]:
    """Return the search over all settings, and its winner fitted again to the training rows alone."""
    fold = np.repeat([-1, 0], [len(rows.y_train), len(rows.y_valid)])
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), svc()),
        {"svc__kernel": list(KERNELS), "svc__C": list(GRID_C)},
        scoring="f1_macro",
        cv=PredefinedSplit(fold),
        n_jobs=n_jobs,
        refit=False,
    ).fit(np.concatenate([rows.x_train, rows.x_valid]), np.concatenate([rows.y_train, rows.y_valid]))
    winner = clone(grid.estimator).set_params(**grid.best_params_)
    return grid, winner.fit(rows.x_train, rows.y_train)
