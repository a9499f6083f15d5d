"""The choice among a search's settings, made on validation predictions alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from transfer import metrics
from transfer.config import SELECT_BY, check_choice
from transfer.heads.standardize import to_numpy


class GridSearch(BaseEstimator):  # type: ignore[misc]
    """A head fitted over a grid at once; what every search does once its settings are fitted.

    How they are fitted together is a search's own. Fitted: `best_params_`, `best_estimator_`, and `cv_results_`, a
    list of `{params, accuracy, macro_f1, fit_s}` on the validation data.
    """

    select: str

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Fit every setting to the training rows and choose one on the validation rows."""
        raise NotImplementedError

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """What the chosen setting predicts (n_samples,)."""
        check_is_fitted(self)
        labels: npt.NDArray[Any] = self.best_estimator_.predict(X)
        return labels

    def predict_each(self, X: Any) -> npt.NDArray[Any]:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        raise NotImplementedError

    def _estimator(self, index: int) -> Any:
        """The fitted estimator of one setting."""
        raise NotImplementedError

    def _choose(
        self, params: Sequence[dict[str, Any]], fit_s: Sequence[float], X_valid: Any, y_valid: Any
    ) -> Self:
        """Score every setting on the validation rows and take the best."""
        predicted_SN = self.predict_each(X_valid)
        self.cv_results_ = [
            validation_row(own, to_numpy(y_valid), predicted_N, own_s)
            for own, predicted_N, own_s in zip(params, predicted_SN, fit_s, strict=True)
        ]
        best = ranking(self.cv_results_, self.select)[0]
        self.best_params_ = self.cv_results_[best]["params"]
        self.best_estimator_ = self._estimator(best)
        return self


def validation_row(
    params: dict[str, Any], y_N: npt.NDArray[Any], predicted_N: npt.NDArray[Any], fit_s: float
) -> dict[str, Any]:
    """One row of `cv_results_`: `{params, accuracy, macro_f1, fit_s}`."""
    names, codes = np.unique(np.concatenate([y_N, predicted_N]), return_inverse=True)
    truth, told = np.split(codes.astype(np.int64), 2)
    counts_CC = metrics.confusion(truth, told, len(names))
    return {
        "params": params,
        "accuracy": float(metrics.accuracy(counts_CC)),
        "macro_f1": float(metrics.macro_f1(counts_CC)),
        "fit_s": fit_s,
    }


def ranking(rows: Sequence[dict[str, Any]], select: str) -> list[int]:
    """The rows' indices, the best by `select` first; equal ones by the other score, then in their order."""
    check_choice("select", select, SELECT_BY)
    other = next(name for name in SELECT_BY if name != select)
    return sorted(range(len(rows)), key=lambda i: (-rows[i][select], -rows[i][other], i))
