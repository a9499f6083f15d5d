"""How good predictions are, and how sure one can be of it.

N: images. C: classes. B: bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

RESAMPLES = 2000

Labels = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion(y_N: Labels, predicted_N: Labels, n_classes: int) -> Counts:
    """Images by true class (rows) and predicted class (columns): `(C, C)`."""
    cells = np.bincount(y_N * n_classes + predicted_N, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def accuracy(confusion_CC: Counts) -> Floats:
    """The share of images that were told right; of any stack `(..., C, C)` of confusions."""
    right: Floats = np.trace(confusion_CC, axis1=-2, axis2=-1) / confusion_CC.sum((-2, -1))
    return right


def macro_f1(confusion_CC: Counts) -> Floats:
    """The mean over classes of F1, the harmonic mean of precision and recall; of any stack of confusions.

    A class that is neither true nor predicted anywhere has no F1 and is left out, as scikit-learn does.
    """
    hits = np.diagonal(confusion_CC, axis1=-2, axis2=-1)
    either = confusion_CC.sum(-1) + confusion_CC.sum(-2)
    f1 = 2 * hits / np.maximum(either, 1)
    mean: Floats = f1.sum(-1) / (either > 0).sum(-1)
    return mean


def score(y_N: Labels, predicted_N: Labels, classes: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Every score of one set of predictions, as the result file holds it.

    The 95 % intervals are percentile bootstraps over images (Efron and Tibshirani 1993, chapter 13); that of
    macro F1 resamples within each true class. Otherwise a class of two or three images would be missing from
    many resamples, and as it is often one that is told badly, the interval would lie too high.
    """
    counts_CC = confusion(y_N, predicted_N, len(classes))
    rng = np.random.default_rng(seed)
    # Resampling images makes the number that are told right a binomial.
    right_B = rng.binomial(len(y_N), accuracy(counts_CC), size=RESAMPLES) / len(y_N)
    support, told, hits = counts_CC.sum(1), counts_CC.sum(0), np.diagonal(counts_CC)
    return {
        "accuracy": float(accuracy(counts_CC)),
        "macro_f1": float(macro_f1(counts_CC)),
        "accuracy_ci95": _interval(right_B),
        "macro_f1_ci95": _interval(_resampled_macro_f1(counts_CC, rng)),
        "per_class": [
            {
                "class": name,
                "support": int(support[c]),
                "recall": _ratio(hits[c], support[c]),
                "precision": _ratio(hits[c], told[c]),
                "f1": _ratio(2 * hits[c], support[c] + told[c]),
            }
            for c, name in enumerate(classes)
        ],
        "confusion": counts_CC.tolist(),
    }


def _resampled_macro_f1(counts_CC: Counts, rng: np.random.Generator) -> Floats:
    """Macro F1 of resamples within each true class `(B,)`; memory grows with B * C, not with B * C * C."""
    support_C = counts_CC.sum(1)
    hits_BC = np.zeros((RESAMPLES, len(counts_CC)), np.int64)
    told_BC = np.zeros_like(hits_BC)
    for c in np.flatnonzero(support_C):
        cells = np.flatnonzero(counts_CC[c])
        drawn_BK = rng.multinomial(support_C[c], counts_CC[c, cells] / support_C[c], size=RESAMPLES)
        told_BC[:, cells] += drawn_BK
        hits_BC[:, c] = drawn_BK[:, cells == c].sum(1)
    either_BC = support_C + told_BC
    f1_BC = 2 * hits_BC / np.maximum(either_BC, 1)
    mean_B: Floats = f1_BC.sum(1) / (either_BC > 0).sum(1)
    return mean_B


def mcnemar(y_N: Labels, a_N: Labels, b_N: Labels) -> float:
    """Exact McNemar test (McNemar 1947): the two-sided p of `a_N` and `b_N` being right equally often.

    Only images that one of the two gets right and the other wrong tell anything; under the hypothesis each
    is a fair coin.
    """
    only_a = int(((a_N == y_N) & (b_N != y_N)).sum())
    only_b = int(((a_N != y_N) & (b_N == y_N)).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def difference(y_N: Labels, a_N: Labels, b_N: Labels, *, seed: int = 0) -> dict[str, Any]:
    """What changes from predictions `a_N` to `b_N` of the same images, as the result file holds it.

    The share that is another, and the difference in accuracy with its 95 % paired bootstrap over images.
    """
    gain_N = (b_N == y_N).astype(np.int64) - (a_N == y_N)
    # Resampling images makes the numbers of losses, ties and gains a multinomial.
    shares = np.bincount(gain_N + 1, minlength=3) / len(y_N)
    drawn_B3 = np.random.default_rng(seed).multinomial(len(y_N), shares, size=RESAMPLES)
    return {
        "images": len(y_N),
        "changed": float((a_N != b_N).mean()),
        "accuracy_difference": float(gain_N.mean()),
        "accuracy_difference_ci95": _interval((drawn_B3[:, 2] - drawn_B3[:, 0]) / len(y_N)),
    }


def cosines(x_ND: npt.NDArray[np.float32], y_ND: npt.NDArray[np.float32]) -> Floats:
    """The cosine of each row with the row in its place: 1 where they are equal, 0 where one is zero or not finite."""
    with np.errstate(all="ignore"):
        dot_N = np.einsum("nd,nd->n", x_ND, y_ND, dtype=np.float64)
        cosine_N = dot_N / (np.linalg.norm(x_ND, axis=1) * np.linalg.norm(y_ND, axis=1))
    return np.where((x_ND == y_ND).all(axis=1), 1.0, np.where(np.isfinite(cosine_N), cosine_N, 0.0))


def _interval(values_B: Floats) -> list[float]:
    return [float(value) for value in np.quantile(values_B, (0.025, 0.975))]


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    """A ratio, or None where there is nothing to divide by: no image of the class, or none told to be it."""
    return float(part / whole) if whole else None
