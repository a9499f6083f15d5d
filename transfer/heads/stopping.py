"""When to stop: each layer's best epoch.

L: layers. D: features. C: classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Layers = tuple[Array, Array]
"""Weights (L, C, D) and biases (L, C) for raw features."""


class BestEpochs:
    """Layers as they were after their best epochs by `score`; `patience` epochs without a better one end a layer's."""

    def __init__(self, score: Callable[[Layers], Array], patience: int) -> None:
        self._score = score
        self._patience = patience
        self._epoch = 0

    def __call__(self, layers: Layers) -> bool:
        """Take in the layers after one more epoch; whether all of them stand still."""
        score_L = self._score(layers)
        if self._epoch == 0:
            self.layers, self._best_L, self.epoch_L = layers, score_L, np.ones(len(score_L), int)
        self._epoch += 1
        better_L = (score_L > self._best_L) & (self._epoch - self.epoch_L <= self._patience)
        for kept, new in zip((*self.layers, self._best_L), (*layers, score_L), strict=True):
            kept[better_L] = new[better_L]
        self.epoch_L[better_L] = self._epoch
        return bool((self._epoch - self.epoch_L >= self._patience).all())
