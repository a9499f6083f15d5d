"""A search that is fitted at once, for tests of what is done with searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from transfer.system.errors import UserError


class Centroids(BaseEstimator):  # type: ignore[misc]
    """The class with the nearest mean; `shift` moves the first feature of what is predicted."""

    fits = 0

    def __init__(self, *, shift: float = 0.0, refuse: bool = False) -> None:
        self.shift = shift
        self.refuse = refuse

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        Centroids.fits += 1
        if self.refuse:
            raise UserError("these images are refused")
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == label].mean(0) for label in self.classes_])
        self.best_params_ = {"shift": self.shift}
        self.best_estimator_ = self
        return self

    def fit_splits(
        self,
        X: Any,
        y: Any,
        splits: Any,
        take: Callable[[int, Any], Any] = lambda split, fitted: fitted,
        on_fit: Callable[[int], None] = lambda done: None,
    ) -> list[Any]:
        kept = []
        for i, (train, valid) in enumerate(splits):
            fitted = type(self)(**self.get_params()).fit(X[train], y[train], X[valid], y[valid])
            kept.append(take(i, fitted))
            on_fit(len(kept))
        return kept

    def predict(self, X: Any) -> Any:
        moved = X + np.eye(1, X.shape[1]) * self.shift
        return self.classes_[np.linalg.norm(moved[:, None] - self.means_, axis=2).argmin(1)]

    def decision_function(self, X: Any) -> Any:
        return -np.linalg.norm(X[:, None] - self.means_, axis=2)
