from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from transfer.heads.calibration import Calibration
from transfer.heads.ncm import NearestMean, NearestMeanSearch


def rows(n_classes: int = 4, n: int = 300, far: float = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    x = rng.normal(size=(n_classes, 20))[y] + rng.normal(size=(n, 20)) * 1.5
    return (x * rng.uniform(0.2, 5, 20) + far).astype(np.float32), y


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("n_classes", "far"), [(2, 10), (4, 10), (4, 1e4)])
def test_labels_are_those_of_scikit_learn(n_classes: int, far: float, standardize: bool) -> None:
    x, y = rows(n_classes, far=far)
    scaler = StandardScaler(with_mean=standardize, with_std=standardize).fit(x[:200].astype(np.float64))
    z = scaler.transform(x.astype(np.float64))
    expected = NearestCentroid().fit(z[:200], y[:200])
    head = NearestMean(standardize=standardize).fit(x[:200], y[:200])
    np.testing.assert_array_equal(head.predict(x[200:]), expected.predict(z[200:]))
    nearest = cosine_similarity(z[200:], expected.centroids_).argmax(1)
    cosine = NearestMean(metric="cosine", standardize=standardize).fit(x[:200], y[:200])
    np.testing.assert_array_equal(cosine.predict(x[200:]), nearest)
    search = NearestMeanSearch(standardize=standardize).fit(x[:200], y[:200], x[200:], y[200:])
    np.testing.assert_array_equal(search.predict_each(x[200:]), [head.predict(x[200:]), nearest])


def test_outputs_differ_as_squared_distances_do() -> None:
    x, y = rows()
    z = StandardScaler().fit_transform(x.astype(np.float64))
    mean_CD = np.stack([z[y == c].mean(0) for c in range(4)])
    half_NC = np.square(z[:, None] - mean_CD).sum(2) / 2
    value_NC = NearestMean().fit(x, y).decision_function(x)
    np.testing.assert_allclose(
        value_NC - value_NC[:, :1], half_NC[:, :1] - half_NC, atol=1e-3 * half_NC.max()
    )


def test_probabilities_are_calibrated_as_those_of_other_linear_heads() -> None:
    x, y = rows(2)
    head = NearestMean().fit(x[:200], y[:200])
    shares = Calibration.fit(head, x[200:], y[200:]).predict_proba(head, x[200:])
    np.testing.assert_array_equal(shares.argmax(1), head.predict(x[200:]))
    np.testing.assert_allclose(shares.sum(1), 1)


def test_a_class_at_the_mean_of_all_has_no_direction() -> None:
    x = np.array([[-1, 0], [1, 0], [0, 0], [0, 0]], np.float32)
    head = NearestMean(metric="cosine").fit(x, [0, 1, 2, 2])
    assert np.isfinite(head.coef_).all()
    assert head.predict(x[:2]).tolist() == [0, 1]


@pytest.mark.parametrize("model", [NearestMean(metric="city"), NearestMeanSearch(metric=("city",))])
def test_an_unknown_metric_is_refused(model: NearestMean | NearestMeanSearch) -> None:
    x, y = rows()
    data = (x, y) if isinstance(model, NearestMean) else (x, y, x, y)
    with pytest.raises(ValueError, match="'city'"):
        model.fit(*data)
