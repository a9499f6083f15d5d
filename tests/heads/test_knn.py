from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from transfer.heads.knn import KNN, KNNSearch


def rows(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    x = rng.normal(size=(4, 20))[y] + rng.normal(size=(n, 20)) * 1.5
    return (x * rng.uniform(0.2, 5, 20) + 10).astype(np.float32), y


@pytest.mark.parametrize("standardize", [True, False])
def test_every_setting_predicts_what_scikit_learn_predicts(standardize: bool) -> None:
    x, y = rows()
    scaler = StandardScaler(with_mean=standardize, with_std=standardize).fit(x[:200].astype(np.float64))
    z = scaler.transform(x.astype(np.float64))
    search = KNNSearch(k=(1, 4, 20), standardize=standardize).fit(x[:200], y[:200], x[200:250], y[200:250])
    for k, predicted in zip(search.k, search.predict_each(x[250:]), strict=True):
        expected = KNeighborsClassifier(k).fit(z[:200], y[:200])
        np.testing.assert_array_equal(predicted, expected.predict(z[250:]))
        alone = KNN(k=k, standardize=standardize).fit(x[:200], y[:200])
        np.testing.assert_array_equal(alone.predict(x[250:]), predicted)
        np.testing.assert_allclose(alone.predict_proba(x[250:]), expected.predict_proba(z[250:]))


def test_distances_are_computed_once_for_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    kneighbors = NearestNeighbors.kneighbors

    def counted(self: NearestNeighbors, *args: Any, **settings: Any) -> Any:
        asked.append(self.n_neighbors)
        return kneighbors(self, *args, **settings)

    monkeypatch.setattr(NearestNeighbors, "kneighbors", counted)
    x, y = rows()
    KNNSearch().fit(x[:200], y[:200], x[200:], y[200:])
    assert asked == [20]


def test_with_fewer_rows_than_neighbours_all_vote() -> None:
    x, y = rows(7)
    np.testing.assert_array_equal(KNN(k=20).fit(x, y).predict(x), KNN(k=7).fit(x, y).predict(x))


def test_no_neighbours_are_refused() -> None:
    x, y = rows(20)
    with pytest.raises(ValueError, match="k is 0"):
        KNN(k=0).fit(x, y).predict(x)
