"""Predictions drawn from a known truth, for studies of statistics.

N: images. C: classes. R: runs. G: groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from transfer.metrics import Floats, Labels

# Images of each class in the built-in set's test split.
SIZES = np.array([7, 6, 7, 4, 4, 13, 4, 4, 55, 17, 5, 6, 4, 5, 59, 56])
CLASSES = len(SIZES)
# True recall of each class. The first five are what methods reached on the built-in set.
RECALLS = {
    "fc-lab": [0, 0, 0.29, 0, 0, 0, 0, 0, 0.93, 0, 0, 0.17, 0, 0, 0.98, 0.84],
    "fc": [0.43, 0, 0, 0.25, 0, 0.23, 0, 0, 0.65, 0.41, 0.2, 0.33, 0, 0, 0.95, 0.98],
    "svm-lab": [0, 0, 0, 0, 0, 0, 0, 0, 0.98, 0, 0, 0, 0, 0, 0.998, 0.998],
    "svm": [0.57, 0.17, 0.14, 0.25, 0, 0.31, 0.5, 0.25, 0.85, 0.29, 0, 0.83, 0.25, 0, 0.998, 0.98],
    "logreg": [0.71, 0.67, 0, 0.25, 0, 0.31, 0, 0.25, 0.84, 0.53, 0, 0.998, 0.25, 0, 0.998, 0.998],
    "rare mostly missed": [0.03] * 8 + [0.97] + [0.03] * 5 + [0.99, 0.99],
    "all between": [0.55, 0.2, 0.15, 0.25, 0.1, 0.3, 0.5, 0.25, 0.85, 0.3, 0.1, 0.8, 0.25, 0.1, 0.99, 0.98],
    "good": [0.98, 0.9, 0.7, 0.9, 0.6, 0.8, 0.95, 0.7, 0.95, 0.9, 0.5, 0.9, 0.6, 0.6, 0.99, 0.98],
    "near-perfect": [0.98] * CLASSES,
    "half perfect": [1, 0.95, 1, 0.9, 1, 0.95, 1, 0.9, 0.98, 0.95, 1, 1, 0.9, 1, 1, 1],
}
SCENARIOS = (*RECALLS, "chance")


def confusion_shares(scenario: str) -> Floats:
    """Return the probability of each predicted class (columns) for an image of each true class (rows) `(C, C)`.

    Nine in ten misses go to classes by their size to the power of 1.5, as rare classes are mistaken for common ones;
    `chance` predicts every class by its size, independently of the image.
    """
    if scenario == "chance":
        return np.tile(SIZES / SIZES.sum(), (CLASSES, 1))
    weights_C = 0.9 * SIZES**1.5 / (SIZES**1.5).sum() + 0.1 / CLASSES
    if scenario == "svm-lab":
        weights_C = np.where(SIZES > 50, weights_C, 0)  # the others are never predicted
    shares_CC = np.tile(weights_C, (CLASSES, 1))
    np.fill_diagonal(shares_CC, 0)
    recall_C = np.array(RECALLS[scenario])
    shares_CC *= ((1 - recall_C) / shares_CC.sum(1))[:, None]
    np.fill_diagonal(shares_CC, recall_C)
    return shares_CC


def draw_labels(runs: int, fixed: bool, rng: np.random.Generator) -> Labels:
    """Draw true classes `(R, N)`: of fixed counts, or of counts drawn from a multinomial with no class missing."""
    if fixed:
        return np.tile(np.repeat(np.arange(CLASSES), SIZES), (runs, 1))
    counts_RC = rng.multinomial(SIZES.sum(), SIZES / SIZES.sum(), size=5 * runs)
    counts_RC = counts_RC[(counts_RC > 0).all(1)][:runs]
    return np.stack([np.repeat(np.arange(CLASSES), counts_C) for counts_C in counts_RC])


def draw_predictions(y_RN: Labels, shares_CC: Floats, rng: np.random.Generator) -> Labels:
    """Draw a prediction of each image."""
    bounds_CC = shares_CC.cumsum(1)
    bounds_CC[:, -1] = 1
    drawn: Labels = (rng.random(y_RN.shape)[..., None] > bounds_CC[y_RN]).sum(-1)
    return drawn


def true_f1(shares_CC: Floats) -> float:
    """Return macro F1 at the expected counts."""
    expected_CC = SIZES[:, None] * shares_CC
    return float((2 * np.diagonal(expected_CC) / (expected_CC.sum(0) + SIZES)).mean())


def true_accuracy(shares_CC: Floats) -> float:
    """Return accuracy at the expected counts."""
    return float(SIZES @ np.diagonal(shares_CC) / SIZES.sum())


@dataclass(frozen=True)
class Grouped:
    """Runs with images in groups, each with its own effect on whether images are predicted correctly by a method."""

    y_RN: Labels
    predicted_RN: Labels
    other_RN: Labels
    """Of an equally good method, with its own effects of groups; on 30 % of the images it copies the first."""
    group_RN: Labels
    shares_CC: Floats
    """Expected over groups."""


def draw_grouped(
    scenario: str, groups: int, spread: float, runs: int, rng: np.random.Generator, *, even: bool
) -> Grouped:
    """Draw groups from a population: their sizes, their class distributions, and predictions.

    The log odds of a hit are shifted by a normal effect of each group, with standard deviation `spread`. A group's
    class distribution is Dirichlet around the population's, as of 32 images. Sizes are even, or Dirichlet(2). No class
    is missing.
    """
    shares_CC = confusion_shares(scenario)
    recall_C = np.diagonal(shares_CC).clip(0.002, 0.998)
    miss_CC = shares_CC * (1 - np.eye(CLASSES))
    miss_CC /= miss_CC.sum(1, keepdims=True)
    y_RN, group_RN = _draw_groups(groups, 8 * runs, rng, even=even)
    complete = np.array([len(np.unique(y_N)) == CLASSES for y_N in y_RN])
    y_RN, group_RN = y_RN[complete][:runs], group_RN[complete][:runs]

    def predict() -> Labels:
        effect_RN = np.take_along_axis(rng.normal(0, spread, (len(y_RN), groups)), group_RN, axis=1)
        hit_RN = rng.random(y_RN.shape) < expit(logit(recall_C)[y_RN] + effect_RN)
        return np.where(hit_RN, y_RN, draw_predictions(y_RN, miss_CC, rng))

    predicted_RN = predict()
    other_RN = np.where(rng.random(y_RN.shape) < 0.3, predicted_RN, predict())
    effects = np.random.default_rng(0).normal(0, spread, 20_000)
    mean_C = expit(logit(recall_C)[:, None] + effects).mean(1)
    shares_CC = miss_CC * (1 - mean_C)[:, None] + np.diag(mean_C)
    return Grouped(y_RN, predicted_RN, other_RN, group_RN, shares_CC)


def _draw_groups(groups: int, runs: int, rng: np.random.Generator, *, even: bool) -> tuple[Labels, Labels]:
    images = int(SIZES.sum())
    sizes_RG = np.full((runs, groups), 1 / groups)
    if not even:
        sizes_RG = 0.1 / groups + 0.9 * rng.dirichlet(np.full(groups, 2.0), size=runs)
    group_RN = (rng.random((runs, images))[..., None] > sizes_RG.cumsum(1)[:, None]).sum(-1)
    group_RN = group_RN.clip(max=groups - 1)
    bounds_RGC = rng.dirichlet(32 * SIZES / images, size=(runs, groups)).cumsum(-1)
    bounds_RNC = np.take_along_axis(bounds_RGC, group_RN[..., None], axis=1)
    y_RN = (rng.random((runs, images))[..., None] > bounds_RNC).sum(-1).clip(max=CLASSES - 1)
    return y_RN, group_RN
