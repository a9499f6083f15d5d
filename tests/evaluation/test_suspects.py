from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from transfer.evaluation import suspects
from transfer.evaluation.suspects import draw_folds, find_suspects, measure_margins, score_out_of_fold

CLASSES = ("ant", "bee", "cat")


def rows(n: int = 240, n_features: int = 12, apart: float = 3) -> tuple[Any, Any]:
    """Rows of three classes, of which the first is the largest."""
    rng = np.random.default_rng(0)
    y_N = rng.choice(3, n, p=(0.6, 0.25, 0.15))
    x_ND = rng.standard_normal((n, n_features)) + apart * np.eye(3, n_features)[y_N]
    return x_ND.astype(np.float32), y_N


def features(x_ND: Any, y_N: Any, group_N: Any = None, copy_of: dict[int, int] | None = None) -> Any:
    """Features as `find_suspects` reads them."""
    ids_N32 = np.zeros((len(y_N), 32), np.uint8)
    ids_N32[:, :2] = np.arange(len(y_N), dtype=">u2")[:, None].view(np.uint8)
    for copy, original in (copy_of or {}).items():
        ids_N32[copy] = ids_N32[original]
    images = SimpleNamespace(
        label_N=y_N,
        group_N=group_N,
        ids_N32=ids_N32,
        split_N=np.arange(len(y_N)) % 3,
        samples=SimpleNamespace(names=[f"{i}.jpg" for i in range(len(y_N))]),
    )

    class Images(SimpleNamespace):
        def __len__(self) -> int:
            return len(y_N)

    return SimpleNamespace(x_ND=x_ND, images=Images(**vars(images)), classes=CLASSES)


@pytest.mark.parametrize("n_features", [12, 400])
def test_images_whose_label_was_changed_come_first(n_features: int) -> None:
    x_ND, y_N = rows(n_features=n_features, apart=6 if n_features == 12 else 15)
    flipped = set(range(0, 240, 20))
    y_N[list(flipped)] = (y_N[list(flipped)] + 1) % 3
    found = find_suspects(features(x_ND, y_N), seed=0)
    assert found["images"] == found["of"] == 240
    first = [int(one["file"].removesuffix(".jpg")) for one in found["first"][: len(flipped)]]
    assert len(flipped & set(first)) >= 10
    for one, i in zip(found["first"], first, strict=False):
        assert one["label"] == CLASSES[y_N[i]]
        assert one["split"] == ("train", "valid", "test")[i % 3]
    own = [
        one["other"] == CLASSES[(y_N[i] - 1) % 3]
        for one, i in zip(found["first"], first, strict=False)
        if i in flipped
    ]
    assert sum(own) >= 9
    margins = [one["margin"] for one in found["first"]]
    assert margins == sorted(margins, reverse=True)
    assert margins[-1] > 0
    assert len(margins) == min(50, found["contradicted"])


def test_scores_are_those_of_a_fit_to_the_other_folds() -> None:
    x_ND, y_N = rows()
    fold_N = draw_folds(y_N, np.arange(len(y_N)), seed=0)
    scores_NC = score_out_of_fold(x_ND, y_N, fold_N)
    cost_N = len(y_N) / 3 / np.bincount(y_N)[y_N]
    y_NC = np.where(np.eye(3)[y_N] > 0, 1.0, -1.0)
    rows_ND = (x_ND - np.average(x_ND, axis=0, weights=cost_N)) / x_ND.std(0)
    bias_C = np.average(y_NC, axis=0, weights=cost_N)
    for fold in range(5):
        held, rest = fold_N == fold, fold_N != fold
        weighed = rows_ND[rest].T * cost_N[rest]
        layer = np.linalg.solve(weighed @ rows_ND[rest] + 12 * np.eye(12), weighed @ (y_NC[rest] - bias_C))
        np.testing.assert_allclose(scores_NC[held], rows_ND[held] @ layer + bias_C, atol=1e-4)


def test_fewer_rows_than_features_have_the_same_scores() -> None:
    x_ND, y_N = rows()
    wide_ND = np.tile(x_ND, 25)  # the same kernel: the penalty is the number of features
    fold_N = draw_folds(y_N, np.arange(len(y_N)), seed=0)
    own, wide = (score_out_of_fold(x, y_N, fold_N) for x in (x_ND, wide_ND))
    np.testing.assert_allclose(wide, own, atol=1e-4)


def test_folds_are_stratified_and_hold_whole_groups() -> None:
    _, y_N = rows()
    fold_N = draw_folds(y_N, np.arange(len(y_N)), seed=0)
    counts = np.array([np.bincount(y_N[fold_N == fold], minlength=3) for fold in range(5)])
    assert (counts.max(0) - counts.min(0) <= 1).all()
    groups_N = np.random.default_rng(0).integers(0, 12, len(y_N))
    fold_N = draw_folds(y_N, groups_N, seed=0)
    assert all(len(set(fold_N[groups_N == group])) == 1 for group in range(12))
    assert len(set(fold_N)) == 5


def test_groups_and_copies_are_in_one_fold() -> None:
    x_ND, y_N = rows()
    x_ND[1], y_N[1] = x_ND[0], (y_N[0] + 1) % 3  # a copy under another label: each would speak for the other
    names = [one["file"] for one in find_suspects(features(x_ND, y_N, copy_of={1: 0}), seed=0)["first"]]
    assert "1.jpg" in names
    assert "0.jpg" not in names
    one_group = find_suspects(features(x_ND, y_N, group_N=np.zeros(240, np.int32)), seed=0)
    assert (one_group["images"], one_group["first"]) == (0, [])


def test_an_image_whose_class_is_in_no_other_fold_is_not_looked_at() -> None:
    x_ND, y_N = rows()
    y_N[y_N == 2] = 0
    y_N[5] = 2
    found = find_suspects(features(x_ND, y_N), seed=0)
    assert found["images"] == 239
    assert "5.jpg" not in {one["file"] for one in found["first"]}


@pytest.mark.parametrize(("limit", "most"), [("MOST_WORK", 240 * 12 * (12 + 3) - 1), ("MOST_IMAGES", 239)])
def test_too_many_images_are_left_out(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, limit, most)
    x_ND, y_N = rows()
    found = find_suspects(features(x_ND, y_N), seed=0)
    assert (found["images"], found["of"], found["first"]) == (0, 240, [])


def test_the_margin_is_that_of_the_best_other_class() -> None:
    scores_NC = np.array([[0.5, -0.2, 0.9], [0.1, 0.7, np.nan], [np.nan, 0.1, 0.2], [0.3, np.nan, np.nan]])
    margin_N, other_N = measure_margins(scores_NC, np.array([0, 1, 0, 0]))
    np.testing.assert_allclose(margin_N, [0.4, -0.6, np.nan, np.nan])
    assert other_N[:2].tolist() == [2, 0]
