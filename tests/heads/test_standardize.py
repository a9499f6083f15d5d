from __future__ import annotations

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from transfer.heads.linear import moments, to_numpy


def test_moments_equal_scikit_learns() -> None:
    x = np.random.default_rng(0).normal(1000, 0.5, (5000, 7)).astype(np.float32)
    x[:, 2] = 0
    x[:, 4] = 12.5
    scaler = StandardScaler().fit(x.astype(np.float64))
    mean, deviation = moments(x)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(deviation, scaler.scale_, rtol=1e-6)


def test_tensors_become_arrays_and_the_rest_stays() -> None:
    assert isinstance(to_numpy(torch.ones(2, requires_grad=True)), np.ndarray)
    assert to_numpy("as it is") == "as it is"
