"""The last layer fine-tuned: Adam and cross entropy, a whole grid of settings trained as one stack.

N: rows. B: rows of a batch. D: features. C: classes. S: settings. P: S * C columns of the stack.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.heads.adam import train_stack
from transfer.heads.selection import GridSearch
from transfer.heads.standardize import moments, to_numpy

Array = npt.NDArray[Any]

class FineTune(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear layer with softmax, trained on features by Adam and cross entropy.

    Parameters: `lr` and `weight_decay` as in `torch.optim.Adam`; `epochs` passes over the data in batches of
    `batch_size` rows; `standardize` trains on features of mean 0 and deviation 1 and folds that into the layer
    afterwards; `seed` draws the first weights and the order; `device` is `auto`, `cpu` or `cuda`.

    Fitted: `coef_` (C, D) and `intercept_` (C,), for raw features, and `classes_`.
    """

    def __init__(
        self,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        epochs: int = 10,
        batch_size: int = 128,
        standardize: bool = True,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Train on `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, y = validate_data(self, to_numpy(X), to_numpy(y), dtype=np.float32)
        check_classification_targets(y)
        weights, biases, self.classes_ = _fit_stack(
            X,
            y,
            [(self.lr, self.weight_decay)],
            epochs=self.epochs,
            batch_size=self.batch_size,
            standardize=self.standardize,
            seed=self.seed,
            device=self.device,
        )
        self.coef_, self.intercept_ = weights[0], biases[0]
        return self

    def decision_function(self, X: Any) -> Array:
        """Logits (n_samples, C); of two classes, how far the second leads (n_samples,)."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> Array:
        """Softmax of the logits (n_samples, C)."""
        logits = self._logits(X)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        probabilities: Array = powers / powers.sum(1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> Array:
        """The class of the largest logit (n_samples,)."""
        best = self._logits(X).argmax(1)
        labels: Array = self.classes_[best]
        return labels

    def _logits(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        logits: Array = X @ self.coef_.T + self.intercept_
        return logits


class FineTuneSearch(GridSearch):
    """`FineTune` over a grid of learning rates and weight decays, trained together, chosen on validation data.

    Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a list of
    `{params, accuracy, macro_f1, fit_s}` on the validation data, where `fit_s` is the setting's equal share of
    the one fit that trained them all.
    """

    def __init__(
        self,
        *,
        lr: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2),
        weight_decay: Sequence[float] = (0.0,),
        epochs: int = 10,
        batch_size: int = 128,
        standardize: bool = True,
        select: str = "macro_f1",
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.select = select
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Train every setting on `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        X, y = validate_data(self, to_numpy(X), to_numpy(y), dtype=np.float32)
        check_classification_targets(y)
        settings = list(itertools.product(self.lr, self.weight_decay))
        self._weights_SCD, self._biases_SC, self.classes_ = _fit_stack(
            X,
            y,
            settings,
            epochs=self.epochs,
            batch_size=self.batch_size,
            standardize=self.standardize,
            seed=self.seed,
            device=self.device,
        )
        share_s = (time.perf_counter() - start) / len(settings)
        params = [{"lr": lr, "weight_decay": decay} for lr, decay in settings]
        return self._choose(params, [share_s] * len(settings), X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every setting predicts: (n_settings, n_samples), in the order of `cv_results_`."""
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        n_settings, n_classes, width = self._weights_SCD.shape
        logits_NP = X @ self._weights_SCD.reshape(-1, width).T + self._biases_SC.reshape(-1)
        labels: Array = self.classes_[logits_NP.reshape(-1, n_settings, n_classes).argmax(2).T]
        return labels

    def _estimator(self, index: int) -> FineTune:
        estimator = FineTune(
            **self.cv_results_[index]["params"],
            epochs=self.epochs,
            batch_size=self.batch_size,
            standardize=self.standardize,
            seed=self.seed,
            device=self.device,
        )
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        estimator.coef_, estimator.intercept_ = self._weights_SCD[index], self._biases_SC[index]
        return estimator


def _fit_stack(
    X: Array,
    y: Array,
    settings: Sequence[tuple[float, float]],
    *,
    epochs: int,
    batch_size: int,
    standardize: bool,
    seed: int,
    device: str,
) -> tuple[Array, Array, Array]:
    """Weights (S, C, D), biases (S, C) for raw features, and the classes."""
    classes, encoded = np.unique(y, return_inverse=True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    mean_D, deviation_D = moments(X) if standardize else (np.float32(0), np.float32(1))
    weights_SCD, biases_SC = train_stack(
        torch.from_numpy((X - mean_D) / deviation_D).to(device),
        torch.from_numpy(encoded).to(device),
        len(classes),
        lr_S=[lr for lr, _ in settings],
        weight_decay_S=[decay for _, decay in settings],
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
    )
    # W (x - mean) / deviation + b, written as a layer for x itself.
    folded_SCD = weights_SCD.cpu().numpy() / deviation_D
    return folded_SCD, biases_SC.cpu().numpy() - (folded_SCD * mean_D).sum(2), classes
