from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp
from sklearn.metrics import accuracy_score, f1_score

from tests.evaluation.predictions import draw
from transfer.evaluation.results import conclude
from transfer.evaluation.statistics import (
    compare_groups,
    compare_pair,
    compare_splits,
    measure_change,
    score,
)


def test_a_score_holds_every_value_with_its_interval() -> None:
    y, a, _ = draw(120, 5, 0)
    scored = score(y, a, list("abcde"))
    assert scored["accuracy"] == pytest.approx(accuracy_score(y, a))
    assert scored["macro_f1"] == pytest.approx(f1_score(y, a, average="macro"))
    assert scored["accuracy_ci95"][0] < scored["accuracy"] < scored["accuracy_ci95"][1]
    assert scored["macro_f1_ci95"][0] < scored["macro_f1"] < scored["macro_f1_ci95"][1]
    for row in scored["per_class"]:
        assert row["recall_ci95"][0] <= row["recall"] <= row["recall_ci95"][1]
    assert scored["independent"] == {"unit": "image", "count": 120}
    assert json.loads(json.dumps(scored, allow_nan=False)) == scored


def test_groups_are_the_units_of_a_score_unless_there_is_one() -> None:
    y, a, _ = draw(120, 5, 0)
    days = np.array(["2013-04-12", "2013-04-13", "2013-03-04"])[np.arange(120) % 3]
    grouped = score(y, a, list("abcde"), groups_N=days)
    assert grouped["independent"] == {"unit": "group", "count": 3}
    assert grouped["accuracy_ci95"] != score(y, a, list("abcde"))["accuracy_ci95"]
    assert score(y, a, list("abcde"), groups_N=days[:1].repeat(120)) == score(y, a, list("abcde"))


def test_classes_never_right_leave_macro_f1_an_interval() -> None:
    y = np.repeat(np.arange(16), [4] * 13 + [55, 59, 56])
    always_big = np.where(y < 13, 13 + y % 3, y)
    low, high = score(y, always_big, [str(c) for c in range(16)])["macro_f1_ci95"]
    assert high - low > 0.03


@pytest.mark.slow
def test_many_classes_need_little_memory() -> None:
    y, a, b = draw(3000, 1000, 0)
    tracemalloc.start()
    score(y, a, [str(c) for c in range(1000)], groups_N=np.arange(3000) % 50)
    compare_pair(y[:500], a[:500], b[:500], 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6


@pytest.mark.parametrize("groups", [None, 12])
def test_a_comparison_is_antisymmetric_and_the_same_every_time(groups: int | None) -> None:
    y, a, b = draw(200, 6, 1)
    groups_N = None if groups is None else np.arange(200) % groups
    one, other = compare_pair(y, a, b, 6, groups_N=groups_N), compare_pair(y, b, a, 6, groups_N=groups_N)
    assert one == compare_pair(y, a, b, 6, groups_N=groups_N)
    assert one["accuracy"]["difference"] == pytest.approx(accuracy_score(y, a) - accuracy_score(y, b))
    assert one["macro_f1"]["difference"] == pytest.approx(
        f1_score(y, a, average="macro") - f1_score(y, b, average="macro")
    )
    for name in ("accuracy", "macro_f1"):
        assert other[name]["difference"] == pytest.approx(-one[name]["difference"])
        assert other[name]["ci95"] == pytest.approx([-bound for bound in reversed(one[name]["ci95"])])
        assert other[name]["p"] == pytest.approx(one[name]["p"])
        assert other[name]["detectable"] == pytest.approx(one[name]["detectable"])
    assert one["mcnemar_p"] == one["accuracy"]["p"]
    json.dumps(one, allow_nan=False)


def test_equal_predictions_are_the_same_within_2_points_where_images_suffice() -> None:
    y, a, _ = draw(3000, 4, 2)
    pair = compare_pair(y, a, a, 4)
    for name in ("accuracy", "macro_f1"):
        assert pair[name]["difference"] == 0
        assert pair[name]["p"] == 1
        assert pair[name]["same_within_2_points"]
    few = compare_pair(y[:20], a[:20], a[:20], 4)
    assert not few["accuracy"]["same_within_2_points"]
    assert few["accuracy"]["detectable"] is None


def test_no_difference_is_detectable_over_two_groups_where_it_would_be_more_than_1() -> None:
    y = np.array([0, 1, 1])
    pair = compare_pair(y, y, 1 - y, 2, groups_N=[0, 0, 1])
    assert pair["accuracy"]["detectable"] is pair["macro_f1"]["detectable"] is None


def test_a_difference_that_no_test_could_find_is_not_called_detectable() -> None:
    """With five images or fewer that differ, McNemar's p is never below 0.05; with five groups that of swaps is not."""
    y = np.arange(60) % 2
    a, b = y.copy(), y.copy()
    a[:2] = 1 - a[:2]
    pair = compare_pair(y, a, b, 2)
    assert pair["accuracy"]["detectable"] is pair["macro_f1"]["detectable"] is None
    y, a, b = draw(200, 6, 1)
    for groups, found in ((5, False), (7, False), (8, True)):
        pair = compare_pair(y, a, b, 6, groups_N=np.arange(200) % groups)
        assert [pair[score]["detectable"] is not None for score in ("accuracy", "macro_f1")] == [found, found]


def test_a_change_of_predictions_is_after_minus_before() -> None:
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    before = np.array([0, 0, 0, 0, 1, 1, 0, 0])
    after = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    change = measure_change(y, before, after)
    assert (change["images"], change["changed"]) == (8, 3 / 8)
    assert change["accuracy_difference"] == 1 / 8  # one lost, two won
    low, high = change["accuracy_difference_ci95"]
    assert low < 0 < high


def test_splits_are_compared_by_the_corrected_t() -> None:
    differences = np.random.default_rng(0).normal(0.01, 0.02, 10)
    found = compare_splits(differences, test_share=0.2, train_share=0.7)
    plain = ttest_1samp(differences, 0)
    inflation = (1 + 10 * 0.2 / 0.7) ** 0.5  # 1.96
    assert found["mean"] == pytest.approx(differences.mean())
    assert found["p"] == pytest.approx(2 * t.sf(abs(plain.statistic) / inflation, 9))
    low, high = plain.confidence_interval()
    assert found["ci95"][1] - found["ci95"][0] == pytest.approx(inflation * (high - low))
    assert found["won"] == (differences > 0).sum()


def test_few_or_equal_splits() -> None:
    unknown = {"ci95": None, "p": None}
    assert compare_splits([0.1], 0.2, 0.8) == {"mean": 0.1, **unknown, "won": 1, "tied": 0, "lost": 0}
    assert compare_splits([0.0, 0.0], 0.2, 0.8) == {"mean": 0, **unknown, "won": 0, "tied": 2, "lost": 0}
    assert compare_splits([0.5, 0.5], 0.2, 0.8)["p"] is None  # chance, where a test split has few images
    assert compare_splits([1 - 0.95, 0.95 - 0.9], 0.2, 0.7)["p"] is None  # equal but for rounding
    assert compare_splits([0.3 - 0.2 - 0.1, 0.0], 0.2, 0.7)["tied"] == 2
    assert compare_splits([0.5, -0.3], 0.2, 0.8)["ci95"] == [-1, 1]
    with pytest.raises(ValueError, match=r"test_share=0\.4, train_share=0\.7"):
        compare_splits([0.1, 0.2], 0.4, 0.7)


def test_groups_left_out_are_compared_as_folds() -> None:
    differences = [0.02, -0.01, 0.05, 0.03, 0.0, 0.04]
    found = compare_groups(differences)
    assert found["ci95"] == pytest.approx(compare_splits(differences, 1 / 6, 5 / 6)["ci95"])
    assert (found["won"], found["tied"]) == (4, 1)
    assert compare_groups([0.1])["ci95"] is None


@pytest.mark.parametrize(
    ("ci95", "p", "verdict"),
    [
        ([0.01, 0.05], None, "ahead"),
        ([-0.05, -0.001], 0.01, "behind"),
        ([0.001, 0.015], 0.01, "ahead"),
        ([0.001, 0.05], 0.2, "undecided"),
        ([-0.01, 0.015], None, "same within 2 points"),
        ([0.001, 0.015], 0.2, "same within 2 points"),
        ([-0.05, 0.015], None, "undecided"),
        (None, None, "undecided"),
    ],
)
def test_conclusions(ci95: list[float] | None, p: float | None, verdict: str) -> None:
    assert conclude(ci95, p) == verdict
