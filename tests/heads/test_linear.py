from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from transfer.heads.linear import compute_moments, fold_scale


@pytest.mark.parametrize(("offset", "dtype"), [(1, np.float32), (1e6, np.float64)])
def test_a_folded_layer_keeps_its_digits_wherever_the_features_lie(offset: float, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 40)) + offset).astype(np.float32)
    weights, biases = rng.normal(size=(3, 40)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    mean, scale = x.mean(0), x.std(0)
    coef, intercept = fold_scale(weights, biases, mean, scale)
    assert coef.dtype == intercept.dtype == dtype
    standardized = (x - mean).astype(np.float64) / scale
    expected = standardized @ weights.T + biases
    np.testing.assert_allclose(x @ coef.T + intercept, expected, atol=1e-4)


def test_moments_equal_scikit_learns() -> None:
    x = np.random.default_rng(0).normal(1000, 0.5, (5000, 7)).astype(np.float32)
    x[:, 2] = 0
    x[:, 4] = 12.5
    scaler = StandardScaler().fit(x.astype(np.float64))
    mean, deviation = compute_moments(x)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(deviation, scaler.scale_, rtol=1e-6)
