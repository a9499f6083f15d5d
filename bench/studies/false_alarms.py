"""False alarms: how often two equally good methods are said to differ.

Each comparison draws new images with two views of the same distribution: the same class means, other noise. One method
is trained on each view, so neither is better, while their errors on shared images stay from split to split.

N: images. D: dimensions. R: splits. G: groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import ttest_1samp
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split

from bench.studies.simulated import CLASSES, SIZES
from transfer import metrics
from transfer.config import SCORE_NAMES
from transfer.evaluation.results import ALPHA, conclude
from transfer.evaluation.significance import adjust_holm
from transfer.evaluation.statistics import (
    compare_groups,
    compare_pair,
    compare_splits,
)
from transfer.metrics import Floats, Labels

IMAGES, DIMS, SIGNAL = 900, 24, 0.45
SPLITS, TRAIN, TEST = 10, 0.7, 0.2


@dataclass
class Rates:
    """Counts of comparisons in which a rule said that one of two equal methods is ahead, by rule and score."""

    comparisons: int
    alarms: dict[tuple[str, str], int] = field(default_factory=dict)

    def count(self, rule: str, score: str, alarm: bool) -> None:
        """Add one comparison."""
        self.alarms[rule, score] = self.alarms.get((rule, score), 0) + alarm


def count_false_alarms(comparisons: int) -> Rates:
    """Compare two equal methods repeatedly, by one split, by random splits and by groups left out."""
    rates = Rates(comparisons)
    for child in np.random.SeedSequence(0).spawn(comparisons):
        rng = np.random.default_rng(child)
        y_N, views, _ = _draw_views(rng, groups=0)
        _compare_random_splits(y_N, views, rates, int(rng.integers(2**31)))
        for groups in (6, 20):
            y_N, views, group_N = _draw_views(rng, groups=groups)
            _compare_groups(y_N, views, group_N, rates)
    return rates


def _compare_random_splits(y_N: Labels, views: list[Floats], rates: Rates, seed: int) -> None:
    splits = StratifiedShuffleSplit(SPLITS, test_size=TEST, random_state=seed)
    differences = []
    for i, (train, test) in enumerate(splits.split(y_N[:, None], y_N)):
        # As in a run, a part of what is not tested is kept for choosing settings.
        train, _ = train_test_split(
            train, train_size=TRAIN / (1 - TEST), stratify=y_N[train], random_state=seed
        )
        a_N, b_N = (_predict(x_ND, y_N, train, test) for x_ND in views)
        differences.append(_differences(y_N[test], a_N, b_N))
        if i == 0:
            pair = compare_pair(y_N[test], a_N, b_N, CLASSES, seed=seed)
            adjusted = adjust_holm([pair[score]["p"] for score in SCORE_NAMES])
            for score, p in zip(SCORE_NAMES, adjusted, strict=True):
                rates.count("one split, p < 0.05", score, pair[score]["p"] < ALPHA)
                rates.count("one split, Holm over both scores", score, p < ALPHA)
                rates.count(
                    "one split, interval", score, conclude(pair[score]["ci95"]) in ("ahead", "behind")
                )
    for score, values_R in zip(SCORE_NAMES, np.array(differences).T, strict=True):
        for name, share in (
            (f"{SPLITS} splits", TRAIN),
            (f"{SPLITS} splits, validation counted as train", 1 - TEST),
        ):
            ci95 = compare_splits(values_R, TEST, share)["ci95"]
            rates.count(name, score, conclude(ci95) in ("ahead", "behind"))
        rates.count(f"{SPLITS} splits, uncorrected t", score, _plain_t_rejects(values_R))


def _compare_groups(y_N: Labels, views: list[Floats], group_N: Labels, rates: Rates) -> None:
    codes = np.unique(group_N)
    differences = []
    for code in codes:
        train, test = np.flatnonzero(group_N != code), np.flatnonzero(group_N == code)
        a_N, b_N = (_predict(x_ND, y_N, train, test) for x_ND in views)
        differences.append(_differences(y_N[test], a_N, b_N))
    for score, values_R in zip(SCORE_NAMES, np.array(differences).T, strict=True):
        verdict = conclude(compare_groups(values_R)["ci95"])
        rates.count(f"{len(codes)} groups left out in turn", score, verdict in ("ahead", "behind"))
        rates.count(f"{len(codes)} groups left out in turn, uncorrected t", score, _plain_t_rejects(values_R))


def _plain_t_rejects(values_R: Floats) -> bool:
    """Return whether a t test that takes the differences as independent rejects."""
    return bool(values_R.any() and ttest_1samp(values_R, 0).pvalue < ALPHA)


def _draw_views(rng: np.random.Generator, groups: int) -> tuple[Labels, list[Floats], Labels]:
    """Draw classes, two views, and the group of each image; each group shifts each view by its own offset."""
    y_N = np.concatenate(
        [np.repeat(np.arange(CLASSES), 10), rng.choice(CLASSES, IMAGES - 10 * CLASSES, p=SIZES / SIZES.sum())]
    )
    group_N = rng.integers(0, max(groups, 1), IMAGES)
    means_CD = SIGNAL * rng.normal(size=(CLASSES, DIMS))
    views = []
    for _ in range(2):
        x_ND = means_CD[y_N] + rng.normal(size=(IMAGES, DIMS))
        if groups:
            x_ND += 0.5 * rng.normal(size=(groups, DIMS))[group_N]
        views.append(x_ND)
    return y_N, views, group_N


def _predict(x_ND: Floats, y_N: Labels, train: Labels, test: Labels) -> Labels:
    """Return the class of the largest score of ridge regression on indicators."""
    ones_ND = np.column_stack([x_ND, np.ones(len(x_ND))])
    targets_NC = 2.0 * np.eye(CLASSES)[y_N[train]] - 1
    gram_DD = ones_ND[train].T @ ones_ND[train] + np.eye(ones_ND.shape[1])
    weights_DC = np.linalg.solve(gram_DD, ones_ND[train].T @ targets_NC)
    predicted: Labels = (ones_ND[test] @ weights_DC).argmax(1)
    return predicted


def _differences(y_N: Labels, a_N: Labels, b_N: Labels) -> list[float]:
    a_CC, b_CC = (metrics.confusion(y_N, labels_N, CLASSES) for labels_N in (a_N, b_N))
    return [float(getattr(metrics, score)(a_CC) - getattr(metrics, score)(b_CC)) for score in SCORE_NAMES]
