from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from tests.evaluation.searches import Centroids
from tests.reports import Reports
from transfer.data.splits import draw_repeats, leave_group_out
from transfer.evaluation.repeats import (
    GROUPS,
    STRATIFIED,
    NotRepeated,
    default_count,
    fit_transforms,
    repeat,
    score_splits,
)
from transfer.heads.transforms import FeatureTransform


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    y_N = np.repeat(np.arange(4), (40, 30, 20, 10))
    return (rng.normal(size=(100, 6)) + 1.5 * np.eye(4, 6)[y_N]).astype(np.float32), y_N


def repeated(rows: tuple[Any, Any], **searches: Centroids) -> dict[str, Any]:
    splits = draw_repeats(rows[1], 6, {"valid": 0.1, "test": 0.3}, seed=0)
    return repeat(searches, *rows, splits, 4, scheme=STRATIFIED)


def test_a_drawn_test_split_of_few_classes_is_repeated_by_default() -> None:
    assert default_count(test_is_drawn=True, n_classes=300) == 10
    assert default_count(test_is_drawn=True, n_classes=301) == 0
    assert default_count(test_is_drawn=False, n_classes=16) == 0


def test_scores_are_those_of_a_fit_on_each_split(rows: tuple[Any, Any]) -> None:
    x_ND, y_N = rows
    found = repeated(rows, a=Centroids())
    splits = draw_repeats(y_N, 6, {"valid": 0.1, "test": 0.3}, seed=0)
    for i, (train, valid, test) in enumerate(splits):
        alone = Centroids().fit(x_ND[train], y_N[train], x_ND[valid], y_N[valid])
        predicted_N = alone.predict(x_ND[test])
        assert found["methods"][0]["accuracy"][i] == accuracy_score(y_N[test], predicted_N)
        expected = f1_score(y_N[test], predicted_N, average="macro")
        assert found["methods"][0]["macro_f1"][i] == pytest.approx(expected)
    assert found["n"] == 6
    assert found["test_images"] == [len(test) for _, _, test in splits]


@pytest.mark.parametrize("steps", [("l2",), ("l2", "pca:4", "whiten")])
def test_features_are_transformed_by_the_training_rows_of_each_split(
    rows: tuple[Any, Any], steps: tuple[str, ...]
) -> None:
    x_ND, y_N = rows
    splits = draw_repeats(y_N, 3, {"valid": 0.1, "test": 0.3}, seed=0)
    done: list[int] = []
    moved_ND, transforms = fit_transforms(steps, x_ND, splits)
    found = score_splits(Centroids(), moved_ND, y_N, splits, 4, done.append, transforms)
    assert done == [1, 2, 3]
    for i, (train, valid, test) in enumerate(splits):
        x_TK, x_VK, x_EK = (
            FeatureTransform(steps=steps).fit(x_ND[train]).transform(x_ND[part])
            for part in (train, valid, test)
        )
        predicted_N = Centroids().fit(x_TK, y_N[train], x_VK, y_N[valid]).predict(x_EK)
        assert found["accuracy"][i] == accuracy_score(y_N[test], predicted_N)
    # Whatever validation and test rows are, what is fitted to the others stays.
    for (train, _, _), transform in zip(splits, transforms, strict=False):
        others_ND = np.where(np.isin(np.arange(100), train)[:, None], x_ND, 1e3).astype(np.float32)
        _, (again,) = fit_transforms(steps, others_ND, [(train, train, train)])
        np.testing.assert_array_equal(again.transform(x_ND), transform.transform(x_ND))


def test_splits_with_fewer_rows_than_components_take_what_they_have(rows: tuple[Any, Any]) -> None:
    x_ND, _ = rows
    splits = [
        (np.array([0, 50, 80]), np.arange(9), np.arange(100)),
        (np.arange(90), np.arange(9), np.arange(100)),
    ]
    _, transforms = fit_transforms(("pca:5",), x_ND, splits)
    assert [own.transform(x_ND).shape[1] for own in transforms] == [2, 5]


def test_pairs_are_compared_over_the_splits(rows: tuple[Any, Any]) -> None:
    found = repeated(rows, good=Centroids(), bad=Centroids(shift=9.0))
    good, bad = found["methods"]
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"]) == ("good", "bad")
    for score in ("accuracy", "macro_f1"):
        entry = pair[score]
        assert entry["mean"] == pytest.approx(np.mean(good[score]) - np.mean(bad[score]))
        assert entry["ci95"][0] < entry["mean"] < entry["ci95"][1]
        assert entry["won"] + entry["lost"] + entry["tied"] == 6
    assert pair["accuracy"]["won"] == 6


def test_equal_methods_tie_everywhere(rows: tuple[Any, Any]) -> None:
    (pair,) = repeated(rows, a=Centroids(), b=Centroids())["pairs"]
    assert pair["accuracy"]["tied"] == 6
    assert pair["macro_f1"]["p"] is None


def test_groups_are_named_and_each_is_tested_once(rows: tuple[Any, Any]) -> None:
    x_ND, y_N = rows
    groups_N = np.arange(100) % 5
    splits = leave_group_out(y_N, groups_N, 0.1, seed=0)
    found = repeat({"a": Centroids()}, x_ND, y_N, splits, 4, scheme=GROUPS, names=list("vwxyz"))
    assert found["names"] == list("vwxyz")
    assert found["test_images"] == [20] * 5
    assert found["test_share"] == pytest.approx(0.2)
    assert found["untrained"] == [0] * 5


def test_images_that_no_method_can_recognise_are_counted(rows: tuple[Any, Any]) -> None:
    """A group has all images of a class."""
    x_ND, y_N = rows
    groups_N = np.where(y_N == 3, 2, np.arange(100) % 2)
    splits = leave_group_out(y_N, groups_N, 0.1, seed=0)
    found = repeat({"a": Centroids()}, x_ND, y_N, splits, 4, scheme=GROUPS, names=list("vwx"))
    assert found["untrained"] == [0, 0, int((y_N == 3).sum())]


def test_a_method_that_refuses_is_left_out(rows: tuple[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "transfer"):
        found = repeated(rows, a=Centroids(), b=Centroids(refuse=True))
    assert [method["name"] for method in found["methods"]] == ["a"]
    assert "b is left out of the repeated splits: these images are refused" in caplog.text


def test_every_split_of_every_method_is_reported(rows: tuple[Any, Any]) -> None:
    reports, splits = Reports(), draw_repeats(rows[1], 6, {"valid": 0.1, "test": 0.3}, seed=0)
    searches = {"a": Centroids(), "b": Centroids(refuse=True), "c": Centroids()}
    fit_s = {"a": 6.0, "b": 3.0, "c": 3.0}
    repeat(searches, *rows, splits, 4, scheme=STRATIFIED, fit_s=fit_s, on_progress=reports)
    assert reports.phases() == ["repeat"]
    details = [detail for *_, detail in reports.calls]
    assert details[:3] == ["a, split 1 of 6", "a, split 2 of 6", "a, split 3 of 6"]
    assert ("repeat", 6, 18, "b, split 1 of 6") in reports.calls
    assert reports.calls[-1] == ("repeat", 18, 18, "")
    expected = [i / 12 for i in range(6)] + [0.5] + [0.75 + i / 24 for i in range(6)]
    assert reports.shares == [pytest.approx(share) for share in expected] + [None]


def test_a_transform_that_fails_costs_the_repeats_alone(rows: tuple[Any, Any]) -> None:
    x_ND, y_N = rows
    splits = draw_repeats(y_N, 6, {"valid": 0.1, "test": 0.3}, seed=0)
    x_ND = np.full_like(x_ND, np.inf)
    with np.errstate(invalid="ignore"), pytest.raises(NotRepeated, match="^transform: "):
        repeat({"a": Centroids()}, x_ND, y_N, splits, 4, scheme=STRATIFIED, transform=["pca:4"])


def test_where_every_method_refuses_nothing_is_repeated(rows: tuple[Any, Any]) -> None:
    with pytest.raises(NotRepeated, match="^a: "):
        repeated(rows, a=Centroids(refuse=True))
