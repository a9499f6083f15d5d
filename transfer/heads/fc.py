"""The last layer fine-tuned: Adam and cross entropy, a whole grid of settings trained as one stack.

M: rows to predict. D: features. C: classes. L: layers, one for each setting and seed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from transfer.config import SELECT_BY, check_choice
from transfer.heads.adam import train_stack
from transfer.heads.linear import checked, folded
from transfer.heads.selection import GridSearch, ranking, validation_row
from transfer.heads.softmax import softmax
from transfer.heads.standardize import moments, to_numpy
from transfer.heads.stopping import BestEpochs, Layers

Array = npt.NDArray[Any]


class FineTune(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear layer with softmax, trained on features by Adam and cross entropy.

    Parameters: `lr` and `weight_decay` as in `torch.optim.Adam`; `epochs` passes over the data in batches of
    `batch_size` rows; `standardize` trains on features of mean 0 and deviation 1 and folds that into the layer
    afterwards; `class_weight` is None, `balanced` or `{class: weight}` as scikit-learn has it, and enters the loss as
    `torch.nn.CrossEntropyLoss(weight=...)` does; `seed` draws the first weights and the order; `device` is `auto`,
    `cpu` or `cuda`. When to stop is a search's choice, since it takes validation rows.

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
        class_weight: Any = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.class_weight = class_weight
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Train on `X` (n_samples, n_features) and labels `y` (n_samples,). Raises `ValueError`."""
        X, self.classes_, codes_N = checked(self, X, y, least=1)
        weights, biases = _train(self, X, codes_N, [(self.lr, self.weight_decay)])
        self.coef_, self.intercept_ = weights[0], biases[0]
        return self

    def decision_function(self, X: Any) -> Array:
        """Logits (n_samples, C); of two classes, how far the second leads (n_samples,)."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> Array:
        """Softmax of the logits (n_samples, C)."""
        return softmax(self._logits(X))

    def predict(self, X: Any) -> Array:
        """The class of the largest logit (n_samples,)."""
        best = self._logits(X).argmax(1)
        labels: Array = self.classes_[best]
        return labels

    def _logits(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        return _logits(X, self.coef_, self.intercept_)


class FineTuneSearch(GridSearch):
    """`FineTune` over a grid of learning rates and weight decays, trained together, chosen on validation data.

    `n_seeds` trains every setting from `seed`, `seed + 1`, …, each with its own first weights and order: the spread of
    its rows in `cv_results_` shows how much is luck. The setting with the best mean over its seeds is chosen, of it
    the best seed. `early_stopping` scores every epoch by `select` on the validation data: a layer is kept as its
    best epoch left it, and stands still after `patience` epochs without a better one; `epochs` is the most it gets.

    Fitted: `best_params_`, `best_estimator_`, `classes_`, and `cv_results_`: a list of
    `{params, accuracy, macro_f1, fit_s}` on the validation data, one for each setting and seed, where `fit_s` is an
    equal share of the one fit that trained them all. `params` are what `FineTune` needs to end in the same layer:
    `lr`, `weight_decay`, with more seeds than one `seed`, with early stopping `epochs`.
    """

    def __init__(
        self,
        *,
        lr: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2),
        weight_decay: Sequence[float] = (0.0,),
        epochs: int = 10,
        batch_size: int = 128,
        standardize: bool = True,
        class_weight: Any = None,
        early_stopping: bool = False,
        patience: int = 10,
        select: str = "macro_f1",
        seed: int = 0,
        n_seeds: int = 1,
        device: str = "auto",
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.patience = patience
        self.select = select
        self.seed = seed
        self.n_seeds = n_seeds
        self.device = device

    def fit(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> Self:
        """Train every setting on `X`, `y`; choose by `select` on `X_valid`, `y_valid`. Raises `ValueError`."""
        start = time.perf_counter()
        check_choice("select", self.select, SELECT_BY)
        for name in ("epochs", "n_seeds", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        X, self.classes_, codes_N = checked(self, X, y, least=1)
        settings = list(itertools.product(self.lr, self.weight_decay))
        params = [{"lr": lr, "weight_decay": decay} for lr, decay in settings]
        if self.n_seeds > 1:
            seeds = range(self.seed, self.seed + self.n_seeds)
            params = [{**own, "seed": seed} for own in params for seed in seeds]
        if self.early_stopping:
            best = BestEpochs(lambda layers: self._scores(layers, X_valid, y_valid), self.patience)
            _train(self, X, codes_N, settings, n_seeds=self.n_seeds, over=best)
            self._layers = best.layers
            params = [{**own, "epochs": int(e)} for own, e in zip(params, best.epoch_L, strict=True)]
        else:
            self._layers = _train(self, X, codes_N, settings, n_seeds=self.n_seeds)
        share_s = (time.perf_counter() - start) / len(params)
        return self._choose(params, [share_s] * len(params), X_valid, y_valid)

    def predict_each(self, X: Any) -> Array:
        """What every row of `cv_results_` predicts: (rows, n_samples)."""
        return self._predicted(self._layers, X)

    def _predicted(self, layers: Layers, X: Any) -> Array:
        X = validate_data(self, to_numpy(X), dtype=np.float32, reset=False)
        weights_LCD, biases_LC = layers
        n_layers, n_classes, width = weights_LCD.shape
        logits_MP = _logits(X, weights_LCD.reshape(-1, width), biases_LC.reshape(-1))
        labels: Array = self.classes_[logits_MP.reshape(-1, n_layers, n_classes).argmax(2).T]
        return labels

    def _scores(self, layers: Layers, X_valid: Any, y_valid: Any) -> Array:
        y_M = to_numpy(y_valid)
        rows = [validation_row({}, y_M, told_M, 0.0) for told_M in self._predicted(layers, X_valid)]
        return np.array([row[self.select] for row in rows])

    def _choose(
        self, params: Sequence[dict[str, Any]], fit_s: Sequence[float], X_valid: Any, y_valid: Any
    ) -> Self:
        super()._choose(params, fit_s, X_valid, y_valid)
        rows, n = self.cv_results_, self.n_seeds
        means = [
            {name: np.mean([row[name] for row in rows[i : i + n]]) for name in SELECT_BY}
            for i in range(0, len(rows), n)
        ]
        first = ranking(means, self.select)[0] * n
        best = first + ranking(rows[first : first + n], self.select)[0]
        self.best_params_, self.best_estimator_ = rows[best]["params"], self._estimator(best)
        return self

    def _estimator(self, index: int) -> FineTune:
        shared = ("epochs", "batch_size", "standardize", "class_weight", "seed", "device")
        own = {name: getattr(self, name) for name in shared} | self.cv_results_[index]["params"]
        estimator = FineTune(**own)
        estimator.classes_, estimator.n_features_in_ = self.classes_, self.n_features_in_
        weights_LCD, biases_LC = self._layers
        estimator.coef_, estimator.intercept_ = weights_LCD[index], biases_LC[index]
        return estimator


def _train(
    head: FineTune | FineTuneSearch,
    X: Array,
    codes_N: Array,
    settings: Sequence[tuple[float, float]],
    *,
    n_seeds: int = 1,
    over: Callable[[Layers], bool] | None = None,
) -> Layers:
    """One layer for each (lr, weight decay) and seed; `over` sees them after every epoch and may end the training."""
    classes, device = head.classes_, head.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    weight_C = None
    if head.class_weight is not None:
        weight_C = compute_class_weight(head.class_weight, classes=classes, y=classes[codes_N])
        weight_C = torch.tensor(weight_C, dtype=torch.float32, device=device)
    mean_D, deviation_D = np.zeros(X.shape[1], np.float32), np.ones(X.shape[1], np.float32)
    x_ND = _tensor(X).to(device)
    if head.standardize:
        mean_D, deviation_D = moments(X)
        x_ND = (x_ND - _tensor(mean_D).to(device)).div_(_tensor(deviation_D).to(device))

    def fold(weights_LCD: torch.Tensor, biases_LC: torch.Tensor) -> Layers:
        return folded(weights_LCD.cpu().numpy(), biases_LC.cpu().numpy(), mean_D, deviation_D)

    return fold(
        *train_stack(
            x_ND,
            torch.from_numpy(codes_N).to(device),
            len(classes),
            lr_S=[lr for lr, _ in settings],
            weight_decay_S=[decay for _, decay in settings],
            epochs=head.epochs,
            batch_size=head.batch_size,
            seed=head.seed,
            n_seeds=n_seeds,
            class_weight_C=weight_C,
            over=None if over is None else lambda weights, biases: over(fold(weights, biases)),
        )
    )


def _logits(X: Array, weights_PD: Array, biases_P: Array) -> Array:
    # By torch: NumPy's BLAS lets its threads spin after a product, which took 75 ms off the next fit's two cores.
    logits_MP: Array = torch.addmm(_tensor(biases_P), _tensor(X), _tensor(weights_PD).T).numpy()
    return logits_MP


def _tensor(values: Array) -> torch.Tensor:
    """The array as torch takes it: copied only where it is read-only or strided."""
    return torch.from_numpy(np.require(values, requirements=("C", "W")))
