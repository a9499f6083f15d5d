from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from tests.evaluation.predictions import draw
from transfer import metrics
from transfer.evaluation.intervals import (
    Units,
    accuracy_difference,
    accuracy_interval,
    recall_intervals,
)
from transfer.evaluation.macro_f1 import ADDED, macro_f1_difference, macro_f1_interval
from transfer.evaluation.shares import NORMAL_QUANTILE, jeffreys, wilson
from transfer.metrics import Floats, Labels

# Class counts and recalls as on the built-in images: many small classes, some never right, some always.
SIZES = np.array([7, 6, 7, 4, 4, 13, 4, 4, 55, 17, 5, 6, 4, 5, 59, 56])
RECALLS = np.array([0.57, 0.17, 0.14, 0.25, 0, 0.31, 0.5, 0.25, 0.85, 0.29, 0, 0.83, 0.25, 0, 1, 0.98])
C = len(SIZES)


def test_accuracy_has_wilsons_interval_of_any_number_of_images_and_recall_that_of_jeffreys() -> None:
    for n in (1, 8, 59, 60, 400):
        correct = np.arange(n) > 0
        expected = wilson(correct.mean(), n, NORMAL_QUANTILE)
        assert accuracy_interval(correct, Units.of(n, None)) == expected
        y = np.zeros(n, np.int64)
        assert recall_intervals(y, y + ~correct, 1, None) == [jeffreys(correct.mean(), n)]


def test_groups_never_count_for_more_images_than_there_are() -> None:
    correct, group = np.arange(40) % 4 > 0, np.repeat(np.arange(10), 4)  # every group has one image wrong
    groups, images = Units.of(40, group), Units.of(40, None)
    assert accuracy_interval(correct, groups) == pytest.approx(accuracy_interval(correct, images))
    # Where all are right there is no variance to be seen between groups.
    low, _ = accuracy_interval(np.ones(40, bool), groups)
    assert low == pytest.approx(
        wilson(1.0, 40 * (NORMAL_QUANTILE / t.ppf(0.975, 9)) ** 2, NORMAL_QUANTILE)[0]
    )


def test_a_class_within_one_group_leaves_the_mean_with_it() -> None:
    y, group = np.repeat(np.arange(8), 10), np.repeat(np.arange(4), 20)
    perfect = macro_f1_interval(y, y, 8, Units.of(80, group))
    images = macro_f1_interval(y, y, 8, Units.of(80, None))
    assert perfect.se < 2 * images.se


def test_groups_of_one_image_give_nearly_the_interval_of_images() -> None:
    y, a, b = draw(400, 6, 0)
    images, groups = Units.of(400, None), Units.of(400, np.arange(400)[::-1])
    for narrow, wide in (
        (accuracy_interval(a == y, images), accuracy_interval(a == y, groups)),
        (macro_f1_interval(y, a, 6, images).ci95, macro_f1_interval(y, a, 6, groups).ci95),
        (accuracy_difference(y, a, b, images).ci95, accuracy_difference(y, a, b, groups).ci95),
        (macro_f1_difference(y, a, b, 6, images).ci95, macro_f1_difference(y, a, b, 6, groups).ci95),
    ):
        assert wide == pytest.approx(narrow, abs=0.004)


def test_the_jackknife_over_groups_equals_leaving_each_out() -> None:
    y, a, b = draw(90, 4, 1)
    group = np.random.default_rng(0).integers(0, 5, 90)
    units = Units.of(90, group)

    def smoothed(kept: Labels, predicted: Labels) -> float:
        counts = metrics.confusion(y[kept], predicted[kept], 4)
        hits = np.diagonal(counts) + ADDED / 4
        return float((2 * hits / (counts.sum(0) + counts.sum(1) + 3 * ADDED / 4)).mean())

    everything = np.ones(90, bool)
    changes = [
        smoothed(group != g, a) - smoothed(everything, a) - smoothed(group != g, b) + smoothed(everything, b)
        for g in range(5)
    ]
    # The rest of the variance are the added images; they are the same with every image its own group.
    without_added = 4 / 5 * float(np.square(changes).sum())
    se = macro_f1_difference(y, a, b, 4, units).se
    assert 0 < se**2 - without_added < 0.2 * without_added
    gain = (a == y).astype(float) - (b == y)
    means = [gain[group != g].mean() - gain.mean() for g in range(5)]
    found = accuracy_difference(y, a, b, units)
    assert found.se**2 == pytest.approx(4 / 5 * np.square(means).sum() + 2 / 92**2)
    assert found.ci95[1] - found.value == pytest.approx(t.ppf(0.975, 4) * found.se)


def test_groups_that_agree_within_widen_every_interval() -> None:
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(8), 30)
    y = rng.integers(0, 3, 240)
    a = np.where(np.isin(group, [1, 4, 6]), (y + 1) % 3, y)  # three groups all wrong
    images, groups = Units.of(240, None), Units.of(240, group)
    for narrow, wide in (
        (accuracy_interval(a == y, images), accuracy_interval(a == y, groups)),
        (macro_f1_interval(y, a, 3, images).ci95, macro_f1_interval(y, a, 3, groups).ci95),
        (accuracy_difference(y, a, y, images).ci95, accuracy_difference(y, a, y, groups).ci95),
        (macro_f1_difference(y, a, y, 3, images).ci95, macro_f1_difference(y, a, y, 3, groups).ci95),
    ):
        assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_one_group_leaves_images_as_units() -> None:
    assert Units.of(9, np.zeros(9)) == Units.of(9, None)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 entries for 9 images"):
        Units.of(9, np.zeros(3))


def test_recall_of_a_class_without_images_has_no_interval_and_of_one_group_a_wide_one() -> None:
    y, predicted = np.array([0] * 20 + [2] * 20), np.array([0] * 40)
    assert recall_intervals(y, predicted, 3, None)[1] is None
    (low, _), _, (_, high) = (r or (0, 0) for r in recall_intervals(y, predicted, 3, None))
    assert low > 0.85
    assert high < 0.15
    groups = np.array([0] * 20 + [1] * 10 + [2] * 10)
    (low, _), _, (_, high) = (r or (0, 0) for r in recall_intervals(y, predicted, 3, groups))
    assert low == pytest.approx(jeffreys(1.0, 1)[0])
    assert high > 0.5  # two groups, one degree of freedom


@pytest.mark.parametrize("unit", ["image", "group"])
@pytest.mark.parametrize("case", ["all right", "all wrong", "one class", "one image a class"])
def test_degenerate_predictions_have_ordered_finite_intervals(case: str, unit: str) -> None:
    y = np.arange(4) if case == "one image a class" else np.repeat(np.arange(4), 10)
    if case == "one class":
        y = np.zeros(40, np.int64)
    a = y if case in ("all right", "one class") else (y + 1) % 4
    units = Units.of(len(y), np.arange(len(y)) % 3 if unit == "group" else None)
    one, two = macro_f1_interval(y, a, 4, units), macro_f1_difference(y, a, y, 4, units)
    for low, high in (one.ci95, accuracy_interval(a == y, units)):
        assert 0 <= low < high <= 1
    assert one.ci95[0] <= one.value <= one.ci95[1]
    for estimate in (two, accuracy_difference(y, a, y, units), macro_f1_difference(y, y, y, 4, units)):
        assert -1 <= estimate.ci95[0] < estimate.ci95[1] <= 1


def test_an_interval_is_longer_upwards_where_a_hit_more_weighs_much() -> None:
    y = np.repeat(np.arange(12), [40, 40, *[5] * 10])
    few, many = y.copy(), y.copy()
    few[80:] = 0
    few[80] = y[80]  # one hit in the ten small classes
    many[80::2] = 0
    lengths = []
    for predicted in (few, many):
        one = macro_f1_interval(y, predicted, 12, Units.of(len(y), None))
        low, high = one.ci95
        lengths.append((high - one.value) / (one.value - low))
    assert lengths[0] > 2 * lengths[1] > 2


def _simulate(recall_C: Floats, runs: int) -> tuple[Labels, Labels, Labels, Floats]:
    """Runs of true classes and two predictions of the same shares of confusion, and those shares."""
    rng = np.random.default_rng(0)
    weights = SIZES**1.5 / (SIZES**1.5).sum()
    shares = np.tile(weights, (C, 1)) * (1 - np.eye(C))
    shares *= ((1 - recall_C) / shares.sum(1))[:, None]
    shares += np.diag(recall_C)
    y = np.tile(np.repeat(np.arange(C), SIZES), (runs, 1))
    bounds = shares.cumsum(1)[y]
    a, b = ((rng.random(y.shape)[..., None] > bounds).sum(-1).clip(max=C - 1) for _ in range(2))
    return y, a, np.where(rng.random(y.shape) < 0.5, a, b), shares


@pytest.mark.parametrize(("classes", "images"), [(2, 60), (2, 100), (4, 100)])
def test_where_nearly_all_is_right_macro_f1_is_no_surer_than_accuracy(classes: int, images: int) -> None:
    """In classes of one size the two scores are nearly the same: without a difference, and without a miss."""
    y, units = np.arange(images) % classes, Units.of(images, None)
    for wrong in (0, 1, 2):
        a = np.where(np.arange(images) < wrong, (y + 1) % classes, y)
        low, high = macro_f1_difference(y, a, a, classes, units).ci95
        by_accuracy = accuracy_difference(y, a, a, units).ci95
        assert (low, high) == pytest.approx(by_accuracy, rel=0.15)
        one, share = macro_f1_interval(y, a, classes, units).ci95, accuracy_interval(y == a, units)
        assert one[0] == pytest.approx(share[0], abs=0.01)


def test_a_class_that_one_method_alone_predicts_wrongly_does_not_blur_the_difference() -> None:
    """It has no test images; a score of the other method has no such class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 120)
    a = np.where(rng.random(120) < 0.8, y, rng.integers(0, 4, 120))
    b = np.where(rng.random(120) < 0.7, y, rng.integers(0, 4, 120))
    units = Units.of(120, None)
    low, high = macro_f1_difference(y, a, b, 5, units).ci95
    b[0] = 4
    with_class = macro_f1_difference(y, a, b, 5, units).ci95
    assert with_class[1] - with_class[0] < 3 * (high - low)


def test_equal_methods_that_predict_a_class_without_images_rarely_differ() -> None:
    """A single prediction decides whether the class is in the mean of a method."""
    rng, units = np.random.default_rng(0), Units.of(100, None)
    y, excluded = np.arange(100) % 2, 0
    for _ in range(200):
        a, b = (np.where(rng.random(100) < 0.99, y, 2) for _ in range(2))
        low, high = macro_f1_difference(y, a, b, 3, units).ci95
        excluded += not low <= 0 <= high
    assert excluded <= 10


@pytest.mark.parametrize("images", [[0] * 40 + [1], [0] * 41])
def test_a_class_that_occurs_once_divides_by_nothing(images: list[int]) -> None:
    y, predicted = np.array(images), np.array([0] * 40 + [1 - images[-1]])
    units = Units.of(41, None)
    with np.errstate(all="raise"):
        one, two = macro_f1_interval(y, predicted, 2, units), macro_f1_difference(y, y, predicted, 2, units)
    for found in (one, two):
        assert found.ci95[0] <= found.value <= found.ci95[1]


RARELY_RIGHT = np.where(SIZES > 50, 0.98, 0.03)


@pytest.mark.parametrize("recall_C", [RECALLS, RARELY_RIGHT], ids=["mixed", "rarely right"])
def test_intervals_of_rare_classes_hold_the_truth(recall_C: Floats) -> None:
    y, a, b, shares = _simulate(recall_C, runs=400)
    units = Units.of(y.shape[1], None)
    expected = SIZES[:, None] * shares
    truth = (2 * np.diagonal(expected) / (expected.sum(0) + SIZES)).mean()
    one = np.array([macro_f1_interval(*run, C, units).ci95 for run in zip(y, a, strict=True)])
    f1 = np.array([macro_f1_difference(*run, C, units).ci95 for run in zip(y, a, b, strict=True)])
    gain = np.array([accuracy_difference(*run, units).ci95 for run in zip(y, a, b, strict=True)])
    # Standard error of a coverage: 1.1 %. A bootstrap within classes covers 82 % for macro F1.
    for name, intervals, value in (("macro F1", one, truth), ("difference", f1, 0), ("accuracy", gain, 0)):
        covered = ((intervals[:, 0] <= value) & (value <= intervals[:, 1])).mean()
        assert 0.92 < covered < 0.995, name
