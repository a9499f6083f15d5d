import numpy as np
import pytest
from sklearn.datasets import make_classification

from bench.studies import doubling


def test_gain_is_measured_on_the_whole_and_extrapolated_from_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubling, "WHOLE", 320)
    monkeypatch.setattr(doubling, "VALID", 80)
    x_ND, y_N = make_classification(
        900, 60, n_informative=20, n_classes=4, n_clusters_per_class=2, random_state=0
    )
    found = doubling.compare_doubling("ridge", x_ND.astype(np.float32), y_N.astype(np.int64), seed=0)
    assert found
    for own in found.values():
        assert 0 < own["measured"] < 0.2
        assert -0.1 < own["extrapolated"] < 0.2
