from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from transfer import metrics


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.choice(9, 80, p=np.arange(1, 10) / 45)
    predicted = np.where(rng.random(80) < 0.7, y, rng.integers(9, size=80))
    counts = metrics.confusion(y, predicted, 9)
    labels = range(9)
    np.testing.assert_array_equal(counts, reference.confusion_matrix(y, predicted, labels=labels))
    assert metrics.accuracy(counts) == pytest.approx(reference.accuracy_score(y, predicted))
    assert metrics.macro_f1(counts) == pytest.approx(
        reference.f1_score(y, predicted, average="macro", zero_division=0)
    )
    assert metrics.score(y, predicted, 9) == {
        "accuracy": metrics.accuracy(counts),
        "macro_f1": metrics.macro_f1(counts),
    }
    expected = reference.precision_recall_fscore_support(y, predicted, labels=labels, zero_division=np.nan)
    names = [f"class {c}" for c in labels]
    for c, row in enumerate(metrics.score_classes(counts, names)):
        assert row["class"] == names[c]
        for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
            assert row[name] == (None if np.isnan(values[c]) else pytest.approx(values[c]))


def test_a_class_without_images_has_no_recall_and_does_not_lower_macro_f1() -> None:
    counts = metrics.confusion(np.array([0, 0, 1]), np.array([0, 0, 1]), 3)
    assert metrics.macro_f1(counts) == 1
    absent = {"class": "absent", "support": 0, "recall": None, "precision": None, "f1": None}
    assert metrics.score_classes(counts, ["a", "b", "absent"])[2] == absent


def test_stacks_of_confusions_are_scored_one_by_one() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (4, 3, 5, 5))
    for of in (metrics.accuracy, metrics.macro_f1):
        np.testing.assert_allclose(of(stack)[2, 1], of(stack[2, 1]))


def test_cosines_are_those_of_rows() -> None:
    x = np.array([[1, 0], [1, 1], [0, 0], [np.nan, 1], [3e38, 3e38]], np.float32)
    y = np.array([[2, 0], [1, 0], [1, 0], [1, 1], [1, 1]], np.float32)
    np.testing.assert_allclose(metrics.cosines(x, y)[:4], [1, 0.5**0.5, 0, 0], rtol=1e-6)
    zeros = np.zeros((1, 2), np.float32)
    np.testing.assert_array_equal(metrics.cosines(zeros, zeros), [1])


def test_the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy() -> None:
    confidence_N = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right_N = np.array([True, True, True, False, True, True])
    assert metrics.calibration_error(confidence_N, right_N) == pytest.approx((4 * 0.2 + 2 * 0.45) / 6)
    assert metrics.calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert metrics.calibration_error(np.empty(0), np.empty(0, bool)) == 0
