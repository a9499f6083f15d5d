"""Predictions for tests of statistics."""

from __future__ import annotations

import numpy as np

from transfer.metrics import Labels


def draw(images: int, classes: int, seed: int) -> tuple[Labels, Labels, Labels]:
    """True classes of unequal size, and two predictions that agree on most images."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, images, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    a = np.where(rng.random(images) < 0.7, y, rng.integers(classes, size=images))
    return y, a, np.where(rng.random(images) < 0.7, a, rng.integers(classes, size=images))
