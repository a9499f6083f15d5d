from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight

from tests.heads.test_svm import blobs
from transfer.heads import multinomial
from transfer.heads.logreg import LogisticRegressionHead, LogisticRegressionSearch
from transfer.heads.multinomial import cross_entropy

Array = np.ndarray


def objective(head: Any, x: Array, y: Array, C: float, scale_D: Array) -> float:
    """What scikit-learn minimises, of a layer for raw features whose penalty is on standardised ones."""
    values = head.decision_function(x).astype(np.float64)
    if values.ndim == 1:
        values = np.stack([np.zeros_like(values), values], 1)
        coef = head.coef_[1:] - head.coef_[:1] if len(head.coef_) == 2 else head.coef_
    else:
        coef = head.coef_
    loss_N, _ = cross_entropy(values, y)
    weight_N = compute_sample_weight(head.class_weight, y)
    return float(C * (weight_N @ loss_N) + ((coef * scale_D) ** 2).sum() / 2)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize(("rows", "width", "classes"), [(300, 20, 2), (300, 20, 5), (40, 90, 3)])
def test_every_setting_reaches_scikit_learns_optimum(
    rows: int, width: int, classes: int, class_weight: str | None
) -> None:
    x, y = blobs(rows + 100, width, classes)
    x, y, x_test, y_test = x[:rows], y[:rows], x[rows:], y[rows:]
    scaler = StandardScaler().fit(x.astype(np.float64))
    z, z_test = scaler.transform(x.astype(np.float64)), scaler.transform(x_test.astype(np.float64))
    search = LogisticRegressionSearch(C=(100, 0.01, 1), class_weight=(class_weight,), extend=False)
    search.fit(x, y, x_test, y_test)
    for s, (row, predicted) in enumerate(zip(search.cv_results_, search.predict_each(x_test), strict=True)):
        assert row["params"] == {"C": search.C[s], "class_weight": class_weight}
        tight = LogisticRegression(**row["params"], tol=1e-9, max_iter=20_000).fit(z, y)
        least = objective(tight, z, y, search.C[s], np.ones(width))
        for head in (search._estimator(s), LogisticRegressionHead(**row["params"]).fit(x, y)):
            reached = objective(head, x, y, search.C[s], scaler.scale_)
            assert reached <= least * (1 + 1e-5)
            np.testing.assert_allclose(head.predict_proba(x_test), tight.predict_proba(z_test), atol=0.02)
        assert (predicted == tight.predict(z_test)).mean() >= 0.99


def test_too_few_iterations_are_reported() -> None:
    x, y = blobs(100, 20, 3)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        LogisticRegressionHead(max_iter=2).fit(x, y)


@pytest.mark.parametrize("scale", [1e-10, 1e5, 1e10])
def test_raw_features_of_any_scale_reach_the_optimum(scale: float) -> None:
    x, y = blobs(200, 10, 3)
    x = (x - x.mean(0)) * np.float32(scale)
    head = LogisticRegressionHead(standardize=False, C=1 / scale**2).fit(x, y)
    same = LogisticRegressionHead(standardize=False).fit(x / np.float32(scale), y)
    assert (head.predict(x) == same.predict(x / np.float32(scale))).mean() >= 0.99


def test_class_weights_given_twice_are_fitted_once() -> None:
    x, y = blobs(100, 10, 3)
    search = LogisticRegressionSearch(C=(0.1, 1), class_weight=(None, None), extend=False).fit(x, y, x, y)
    assert [row["params"]["C"] for row in search.cv_results_] == [0.1, 1]
    assert len(search._rows.layers) == 2


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_a_penalty_next_to_nothing_leaves_the_way_to_the_optimum(scale: float) -> None:
    x, y = blobs(200, 10, 2)
    x = (x - x.mean(0)) * np.float32(scale)
    head = LogisticRegressionHead(standardize=False).fit(x, y)
    tight = LogisticRegression(C=scale**2, tol=1e-9, max_iter=20_000).fit(x.astype(np.float64) / scale, y)
    reached, least = (
        objective(one, rows, y, scale**2, np.full(10, size)) / scale**2
        for one, rows, size in ((head, x, scale), (tight, x / np.float32(scale), 1))
    )
    assert reached <= least * (1 + 1e-4)


def test_few_rows_and_a_weak_penalty_take_few_iterations() -> None:
    for rows, width, classes in ((60, 300, 3), (300, 640, 8)):
        x, y = blobs(rows, width, classes)
        assert LogisticRegressionHead(C=1e6).fit(x, y).n_iter_ < 200


def test_many_rows_reach_the_optimum_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their curvature is that of a sample, and they keep their own coordinates."""
    x, y = blobs(400, 30, 5)
    x = x @ np.random.default_rng(0).standard_normal((30, 30)).astype(np.float32)
    few = LogisticRegressionSearch(C=(0.1, 10), extend=False).fit(x, y, x, y)
    monkeypatch.setattr(multinomial, "MOST_SAMPLED", 100)
    many = LogisticRegressionSearch(C=(0.1, 10), extend=False).fit(x, y, x, y)
    assert many._rows.rows.axes_RR is not None
    scale_D = StandardScaler().fit(x).scale_
    for s, C in enumerate(few.C):
        values = [objective(search._estimator(s), x, y, C, scale_D) for search in (few, many)]
        assert values[1] == pytest.approx(values[0], rel=1e-5)


@pytest.mark.exhaustive
def test_the_lab_features_are_learned(boat_features: dict[str, Array]) -> None:
    search = LogisticRegressionSearch(C=(0.01, 1), tol=1e-5, extend=False).fit(
        boat_features["x_train"], boat_features["y_train"], boat_features["x_valid"], boat_features["y_valid"]
    )
    assert (search.predict(boat_features["x_test"]) == boat_features["y_test"]).mean() > 0.9
