"""Scores of methods and comparisons between them, each with its uncertainty, as the result file holds them.

N: images. C: classes. R: splits, or groups left out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from scipy.stats import norm, t

from transfer import metrics
from transfer.config import SCORE_NAMES
from transfer.evaluation.intervals import (
    Estimate,
    Units,
    accuracy_difference,
    accuracy_interval,
    recall_intervals,
)
from transfer.evaluation.macro_f1 import macro_f1_difference, macro_f1_interval
from transfer.evaluation.resampling import compare_groups, compare_splits
from transfer.evaluation.results import ALPHA, is_small
from transfer.evaluation.significance import (
    adjust_holm,
    detectable_difference,
    mcnemar,
    permute_accuracy,
    permute_macro_f1,
)
from transfer.metrics import Labels

__all__ = [
    "adjust_pairs",
    "compare_groups",
    "compare_pair",
    "compare_splits",
    "detectable_difference",
    "measure_change",
    "score",
    "score_overall",
]

POWER = 0.8
# Of fewer groups, the test by swaps finds less than the standard error promises: of five its p is never below `ALPHA`.
LEAST_GROUPS = 8
# With more classes the confusions would be most of a result file; predictions.csv has what they count.
MAX_CONFUSION = 300


def score_overall(
    y_N: Labels,
    predicted_N: Labels,
    n_classes: int,
    *,
    groups_N: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """Return accuracy and macro F1 of predictions, with 95 % intervals.

    The intervals are those of test images drawn at random, their classes included. If class counts are fixed, as
    in a stratified split, that of accuracy is wider than needed if recall differs much between classes.

    Parameters
    ----------
    y_N, predicted_N : (N,) int64
        Class indices.
    n_classes : int
    groups_N : (N,), optional
        Group of each image. Groups, not images, are then taken as independent, unless all images are in one group:
        then the variance between groups is unknown.

    Returns
    -------
    dict
        `accuracy, macro_f1, accuracy_ci95, macro_f1_ci95`, and `independent {unit, count}`, the unit being `image`
        or `group`.
    """
    units = Units.of(len(y_N), groups_N)
    f1 = macro_f1_interval(y_N, predicted_N, n_classes, units)
    return {
        "accuracy": float((y_N == predicted_N).mean()),
        "macro_f1": f1.value,
        "accuracy_ci95": list(accuracy_interval(y_N == predicted_N, units)),
        "macro_f1_ci95": list(f1.ci95),
        "independent": _describe(units),
    }


def score(
    y_N: Labels,
    predicted_N: Labels,
    classes: Sequence[str],
    *,
    groups_N: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """Return all scores of predictions, with 95 % intervals.

    Parameters
    ----------
    y_N, predicted_N : (N,) int64
        Class indices.
    classes : sequence of str
    groups_N : (N,), optional
        As in `score_overall`.

    Returns
    -------
    dict
        What `score_overall` returns; `per_class[]` with `class, support, recall, precision, f1, recall_ci95` (None: no
        image of the class); and `confusion`, a row for each true class (None for more than `MAX_CONFUSION` classes).
    """
    counts_CC = metrics.confusion(y_N, predicted_N, len(classes))
    units = Units.of(len(y_N), groups_N)
    recall = recall_intervals(y_N, predicted_N, len(classes), None if units.code_N is None else groups_N)
    return {
        **score_overall(y_N, predicted_N, len(classes), groups_N=groups_N),
        "per_class": [
            {**row, "recall_ci95": None if interval is None else list(interval)}
            for row, interval in zip(metrics.score_classes(counts_CC, classes), recall, strict=True)
        ],
        "confusion": counts_CC.tolist() if len(classes) <= MAX_CONFUSION else None,
    }


def compare_pair(
    y_N: Labels,
    a_N: Labels,
    b_N: Labels,
    n_classes: int,
    *,
    groups_N: npt.ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two methods on the same test images; differences are `a` minus `b`.

    Parameters
    ----------
    y_N, a_N, b_N : (N,) int64
        True class indices and the two predictions.
    n_classes : int
    groups_N : (N,), optional
        See `score`.
    seed : int
        Of the permutations.

    Returns
    -------
    dict
        `accuracy` and `macro_f1`, each `{difference, ci95, p, same_within_2_points, detectable}`, `mcnemar_p`
        (the same as `accuracy.p`), and `independent`. `p` of accuracy is the exact McNemar test; with
        groups, where images are not independent, a permutation test that swaps the two predictions of whole groups.
        `p` of macro F1 is such a permutation test too, over images or groups. `detectable` is the difference that
        this test split detects with 80 % power at the level of 5 %: of accuracy by the exact McNemar test if
        images are independent, else by the standard error (None: none is; of macro F1 also where none is of
        accuracy, and over fewer than `LEAST_GROUPS` groups).
    """
    units = Units.of(len(y_N), groups_N)
    by_accuracy = accuracy_difference(y_N, a_N, b_N, units)
    by_f1 = macro_f1_difference(y_N, a_N, b_N, n_classes, units)
    if units.code_N is None:
        accuracy_p = mcnemar(y_N, a_N, b_N)
        discordant = float(((a_N == y_N) != (b_N == y_N)).mean())
        detectable = detectable_difference(len(y_N), discordant, POWER, ALPHA)
    else:
        accuracy_p = permute_accuracy(y_N, a_N, b_N, units, seed=seed)
        detectable = _detectable(by_accuracy, units)
    return {
        "mcnemar_p": accuracy_p,
        "accuracy": _difference(by_accuracy, accuracy_p, detectable),
        "macro_f1": _difference(
            by_f1,
            permute_macro_f1(y_N, a_N, b_N, n_classes, units, seed=seed),
            None if detectable is None else _detectable(by_f1, units),
        ),
        "independent": _describe(units),
    }


def measure_change(y_N: Labels, before_N: Labels, after_N: Labels) -> dict[str, Any]:
    """Measure how predictions of the same images by the same method change.

    Parameters
    ----------
    y_N, before_N, after_N : (N,) int64
        True class indices and the predictions before and after.

    Returns
    -------
    dict
        `images`, `changed` (share with another prediction), `accuracy_difference` (after minus before) and its
        interval `accuracy_difference_ci95`.
    """
    change = accuracy_difference(y_N, after_N, before_N, Units.of(len(y_N), None))
    return {
        "images": len(y_N),
        "changed": float((before_N != after_N).mean()),
        "accuracy_difference": change.value,
        "accuracy_difference_ci95": list(change.ci95),
    }


def adjust_pairs(pairs: Sequence[dict[str, Any]]) -> None:
    """Add to each comparison of two methods `p_holm` for either score: `p` adjusted for their number."""
    for score in SCORE_NAMES:
        for pair, p in zip(pairs, adjust_holm([pair[score]["p"] for pair in pairs]), strict=True):
            pair[score]["p_holm"] = p


def _difference(estimate: Estimate, p: float, detectable: float | None) -> dict[str, Any]:
    return {
        "difference": estimate.value,
        "ci95": list(estimate.ci95),
        "p": p,
        "same_within_2_points": is_small(estimate.ci95),
        "detectable": detectable,
    }


def _detectable(estimate: Estimate, units: Units) -> float | None:
    if units.code_N is not None and units.count < LEAST_GROUPS:
        return None
    quantile = norm.ppf(POWER) if units.code_N is None else t.ppf(POWER, units.count - 1)
    found = float((units.critical + quantile) * estimate.se)
    return found if found <= 1 else None  # a difference of scores between 0 and 1 is 1 at most


def _describe(units: Units) -> dict[str, Any]:
    return {"unit": "image" if units.code_N is None else "group", "count": units.count}
