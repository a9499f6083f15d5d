from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from transfer.heads import ridge
from transfer.heads.ridge import RidgeHead, RidgeSearch
from transfer.system.errors import UserError

Array = np.ndarray
ALPHA = (0.1, 1, 10, 1000, 1e5)


def blobs(rows: int, width: int, classes: int) -> tuple[Array, Array]:
    """Overlapping classes, features far from the origin and of unequal spread, the last one constant."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 7 % classes  # of unequal size
    x = rng.normal(size=(classes, width))[y] + rng.normal(size=(rows, width)) * 1.5
    x = x * rng.uniform(0.2, 5, width) + 10
    x[:, -1] = 3
    return x.astype(np.float32), y


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("rows", "width"), [(300, 40), (40, 300), (60, 60)])
@pytest.mark.parametrize(
    ("classes", "class_weight"), [(2, None), (2, "balanced"), (5, None), (5, "balanced")]
)
def test_every_layer_is_scikit_learns(
    rows: int,
    width: int,
    classes: int,
    class_weight: str | None,
    standardize: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ridge, "CHUNK", 32)
    x, y = blobs(rows + 50, width, classes)
    x, y, x_test, y_test = x[:rows], y[:rows], x[rows:], y[rows:]
    search = RidgeSearch(
        alpha=ALPHA, class_weight=(class_weight,), standardize=standardize, extend=False
    ).fit(x, y, x_test, y_test)
    scaler = StandardScaler(with_mean=standardize, with_std=standardize).fit(x.astype(np.float64))
    for s, (alpha, predicted) in enumerate(zip(ALPHA, search.predict_each(x_test), strict=True)):
        expected = RidgeClassifier(alpha=alpha, class_weight=class_weight).fit(
            scaler.transform(x.astype(np.float64)), y
        )
        values = expected.decision_function(scaler.transform(x_test.astype(np.float64)))
        head = RidgeHead(alpha=alpha, class_weight=class_weight, standardize=standardize).fit(x, y)
        wanted = np.atleast_2d(expected.coef_) / (scaler.scale_ if standardize else 1)
        np.testing.assert_allclose(head.coef_[-len(wanted) :], wanted, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(head.coef_, search._estimator(s).coef_)
        np.testing.assert_allclose(head.decision_function(x_test), values, atol=1e-4)
        np.testing.assert_array_equal(predicted, head.predict(x_test))
        np.testing.assert_array_equal(
            predicted, expected.predict(scaler.transform(x_test.astype(np.float64)))
        )


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan")])
def test_a_penalty_must_be_above_zero(alpha: float) -> None:
    x, y = blobs(20, 5, 2)
    with pytest.raises(UserError, match=f"alpha is {alpha}"):
        RidgeHead(alpha=alpha).fit(x, y)


@pytest.mark.exhaustive
def test_on_the_lab_features_every_setting_predicts_what_scikit_learn_predicts(
    boat_features: dict[str, Array],
) -> None:
    x, y, x_test = (boat_features[name] for name in ("x_train", "y_train", "x_test"))
    search = RidgeSearch().fit(x, y, boat_features["x_valid"], boat_features["y_valid"])
    scaler = StandardScaler().fit(x.astype(np.float64))
    for row, predicted in zip(search.cv_results_, search.predict_each(x_test), strict=True):
        expected = RidgeClassifier(**row["params"]).fit(scaler.transform(x.astype(np.float64)), y)
        np.testing.assert_array_equal(
            predicted, expected.predict(scaler.transform(x_test.astype(np.float64)))
        )
    assert (search.predict(x_test) == boat_features["y_test"]).mean() > 0.9
