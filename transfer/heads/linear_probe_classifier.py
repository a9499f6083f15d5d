"""Fine-tuning of the last layer: AdamW and cross entropy.

D: features. C: classes.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy.typing as npt
import torch

from transfer.heads.checks import validate_training
from transfer.heads.flushing import flushing_threads
from transfer.heads.linear import SoftmaxHead
from transfer.heads.training import TrainingRows

Array = npt.NDArray[Any]


class FineTune(SoftmaxHead):
    """A linear layer with softmax, trained on features by AdamW and cross entropy.

    Parameters
    ----------
    lr, weight_decay : float
        As in `torch.optim.AdamW`.
    epochs : int
        Passes over the rows.
    steps : int, optional
        Number of batches to train on; None trains `epochs` epochs.
    cosine_steps : int, optional
        Steps in which the learning rate falls to zero along half a cosine; None keeps it constant.
    batch_size : int
        Rows of a batch; the last one of an epoch may be smaller.
    standardize : bool
        Train on features of mean 0 and deviation 1, and fold that into the layer afterwards.
    class_weight : None, "balanced" or dict
        As in scikit-learn; enters the loss as in `torch.nn.CrossEntropyLoss(weight=...)`.
    seed : int
        Seed of the initial weights and the order of the rows.
    device : {"auto", "cpu", "cuda"}
        `auto` is CUDA if there is any.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    coef_, intercept_ : ndarrays of shapes (C, D) and (C,), float32 or, for features far from zero, float64
        The layer for raw features.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from transfer.heads import FineTune
    >>> X, y = load_iris(return_X_y=True)
    >>> FineTune(lr=0.01, epochs=20).fit(X, y).predict(X[:2])
    array([0, 0])
    """

    def __init__(
        self,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        epochs: int = 10,
        steps: int | None = None,
        cosine_steps: int | None = None,
        batch_size: int = 128,
        standardize: bool = True,
        class_weight: Any = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.steps = steps
        self.cosine_steps = cosine_steps
        self.batch_size = batch_size
        self.standardize = standardize
        self.class_weight = class_weight
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Train the layer.

        Parameters
        ----------
        X : array or tensor of shape (n_samples, n_features)
        y : array of shape (n_samples,)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used.
        """
        X, self.classes_, codes_N = validate_training(self, X, y, least=1)
        n_steps = self.steps if self.steps is not None else self.epochs * math.ceil(len(X) / self.batch_size)
        rows = TrainingRows.prepare(
            X,
            codes_N,
            self.classes_,
            standardize=self.standardize,
            batch_size=self.batch_size,
            device=self.device,
        )
        settings = [{"lr": self.lr, "weight_decay": self.weight_decay, "class_weight": self.class_weight}]

        def train() -> tuple[torch.Tensor, torch.Tensor]:
            stack = rows.stack(settings, seed=self.seed, cosine_steps=self.cosine_steps)
            stack.train(n_steps)
            return stack.layers()

        with flushing_threads(1) as pool:
            [weights_CD], [biases_C] = pool.submit(train).result()
        self.coef_, self.intercept_ = rows.fold(weights_CD, biases_C)
        return self
