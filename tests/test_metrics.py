from __future__ import annotations

import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
from sklearn import metrics

from transfer import scores


def predictions(rows: int, classes: int, seed: int, right: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    return y, np.where(rng.random(rows) < right, y, rng.integers(classes, size=rows))


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learns(seed: int) -> None:
    y, predicted = predictions(80, 9, seed)
    names = [f"class{c}" for c in range(9)]
    scored = scores.score(y, predicted, names)
    labels = range(9)
    assert scored["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    assert scored["macro_f1"] == pytest.approx(
        metrics.f1_score(y, predicted, average="macro", zero_division=0)
    )
    assert scored["confusion"] == metrics.confusion_matrix(y, predicted, labels=labels).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        y, predicted, labels=labels, zero_division=np.nan
    )
    for c, entry in enumerate(scored["per_class"]):
        assert entry["class"] == names[c]
        assert entry["support"] == support[c]
        for name, expected in (("recall", recall[c]), ("precision", precision[c]), ("f1", f1[c])):
            assert entry[name] == (None if np.isnan(expected) else pytest.approx(expected))


def test_a_class_without_test_images_has_no_recall_and_does_not_pull_macro_f1_down() -> None:
    scored = scores.score(np.array([0, 0, 1]), np.array([0, 0, 1]), ["a", "b", "absent"])
    assert scored["macro_f1"] == 1
    assert scored["per_class"][2] == {
        "class": "absent",
        "support": 0,
        "recall": None,
        "precision": None,
        "f1": None,
    }


def test_the_interval_of_accuracy_equals_that_of_resampled_images() -> None:
    y, predicted = predictions(300, 5, 1)
    rng = np.random.default_rng(1)
    drawn = [rng.integers(300, size=300) for _ in range(2000)]
    accuracy = [metrics.accuracy_score(y[rows], predicted[rows]) for rows in drawn]
    scored = scores.score(y, predicted, list("abcde"))
    assert scored["accuracy_ci95"] == pytest.approx(np.quantile(accuracy, (0.025, 0.975)), abs=0.012)


def test_the_interval_of_macro_f1_equals_that_of_images_resampled_within_their_classes() -> None:
    y, predicted = predictions(200, 6, 1)
    y = np.concatenate([y, [6, 6]])  # a class of two images, both told wrong
    predicted = np.concatenate([predicted, [0, 1]])
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(y == c) for c in range(7)]
    macro_f1 = []
    for _ in range(2000):
        rows = np.concatenate([rng.choice(own, len(own)) for own in members])
        macro_f1.append(metrics.f1_score(y[rows], predicted[rows], average="macro"))
    scored = scores.score(y, predicted, list("abcdefg"))
    assert scored["macro_f1_ci95"] == pytest.approx(np.quantile(macro_f1, (0.025, 0.975)), abs=0.012)


def test_many_classes_need_little_memory() -> None:
    y, predicted = predictions(3000, 1000, 0)
    tracemalloc.start()
    scores.score(y, predicted, [str(c) for c in range(1000)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_intervals_are_the_same_every_time() -> None:
    y, predicted = predictions(100, 4, 2)
    assert scores.score(y, predicted, "abcd", seed=3) == scores.score(y, predicted, "abcd", seed=3)
    assert scores.score(y, predicted, "abcd", seed=3) != scores.score(y, predicted, "abcd", seed=4)


def test_mcnemar_counts_only_images_that_one_gets_right() -> None:
    y = np.zeros(40, np.int64)
    a, b = y.copy(), y.copy()
    a[:2] = 1  # wrong in 2 where b is right
    b[2:12] = 1  # wrong in 10 where a is right
    both = slice(20, 30)
    a[both] = b[both] = 1
    # Twice the chance of at most 2 heads in 12 throws: 2 * (1 + 12 + 66) / 4096.
    assert scores.mcnemar(y, a, b) == pytest.approx(2 * 79 / 4096)
    assert scores.mcnemar(y, a, b) == scores.mcnemar(y, b, a)
    assert scores.mcnemar(y, a, a) == 1


def test_mcnemar_of_many_images_nears_the_normal_approximation() -> None:
    y = np.zeros(2000, np.int64)
    a, b = y.copy(), y.copy()
    a[:450] = 1
    b[450:1000] = 1
    z = (550 - 450 - 1) / 1000**0.5
    assert scores.mcnemar(y, a, b) == pytest.approx(2 * NormalDist().cdf(-z), rel=0.05)


def test_the_difference_between_two_tellings_of_the_same_images() -> None:
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    a = np.array([0, 0, 0, 0, 1, 1, 0, 0])
    b = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    found = scores.difference(y, a, b)
    assert found["images"] == 8
    assert found["changed"] == 3 / 8
    assert found["accuracy_difference"] == 0.0  # one lost, one won, one wrong in another way
    low, high = found["accuracy_difference_ci95"]
    assert low < 0 < high
    same = scores.difference(y, a, a)
    assert (same["changed"], same["accuracy_difference_ci95"]) == (0.0, [0.0, 0.0])


def test_the_interval_of_a_difference_is_that_of_paired_resamples() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 200)
    a, b = (np.where(rng.random(200) < 0.2, 9, y) for _ in range(2))
    rows = rng.integers(0, 200, (4000, 200))
    gains = ((b == y).astype(int) - (a == y))[rows].mean(axis=1)
    expected = np.quantile(gains, (0.025, 0.975))
    np.testing.assert_allclose(scores.difference(y, a, b)["accuracy_difference_ci95"], expected, atol=0.006)


def test_cosines_are_those_of_rows() -> None:
    x = np.array([[1, 0], [1, 1], [0, 0], [np.nan, 1], [3e38, 3e38]], np.float32)
    y = np.array([[2, 0], [1, 0], [1, 0], [1, 1], [1, 1]], np.float32)
    np.testing.assert_allclose(scores.cosines(x, y)[:4], [1, 0.5**0.5, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(
        scores.cosines(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)), [1]
    )
