import numpy as np
from sklearn.datasets import make_blobs

from bench.studies import suspects


def test_changed_labels_of_separate_classes_are_found_first() -> None:
    x_ND, y_N = make_blobs(400, 20, centers=4, cluster_std=1.0, random_state=0)
    assert suspects.find_changed(x_ND.astype(np.float32), y_N.astype(np.int64), seed=0) == (1.0, 20 / 24)


def test_changed_labels_of_noise_are_not() -> None:
    rng = np.random.default_rng(0)
    x_ND, y_N = rng.normal(size=(400, 20)).astype(np.float32), rng.integers(0, 4, 400)
    share, _ = suspects.find_changed(x_ND, y_N, seed=0)
    assert share < 0.4
