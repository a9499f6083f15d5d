from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC

from tests.heads.test_svm import blobs
from transfer.heads.svm_classifier import SVM


@pytest.mark.parametrize(
    ("settings", "message"), [({"kernel": "poly"}, "linear, rbf"), ({"gamma": "x"}, "scale, auto")]
)
def test_unknown_settings_are_named_with_the_allowed_ones(settings: dict[str, str], message: str) -> None:
    x, y = blobs(60, 5, 2)
    with pytest.raises(ValueError, match=message):
        SVM(**{"kernel": "rbf", **settings}).fit(x, y)


def test_a_fit_leaves_nothing_of_the_one_before() -> None:
    x, y = blobs(200, 20, 3)
    again = SVM(kernel="rbf").fit(x, y).set_params(kernel="linear").fit(x, y)
    assert vars(again).keys() == vars(SVM().fit(x, y)).keys()


def test_memory_without_a_limit_is_one() -> None:
    x, y = blobs(200, 20, 3)
    assert not SVM(memory_gb=float("inf")).fit(x, y).one_vs_rest_


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e12])
def test_raw_features_of_any_scale_give_what_scikit_learn_predicts(scale: float) -> None:
    rng = np.random.default_rng(0)  # classes apart: libsvm would not end on others at the large scales
    y = np.arange(200) % 3
    x = ((6 * rng.normal(size=(3, 10))[y] + rng.normal(size=(200, 10))) * scale).astype(np.float32)
    svc = SVC(kernel="linear").fit(x[:100].astype(float), y[:100])
    np.testing.assert_array_equal(SVM(standardize=False).fit(x[:100], y[:100]).predict(x), svc.predict(x))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("n_classes", [2, 7])
def test_labels_and_sums_of_pairs_come_from_one_pass(kernel: str, n_classes: int) -> None:
    x, y = blobs(300, 20, n_classes)
    svm_ = SVM(kernel=kernel).fit(x[:150], y[:150])
    labels, sums = svm_.predict_with_sums(x)
    np.testing.assert_array_equal(labels, svm_.predict(x))
    expected = svm_.decision_function(x)
    if n_classes > 2:
        sums = np.rint(expected) + sums / (3 * (np.abs(sums) + 1))
    np.testing.assert_allclose(sums, expected, atol=1e-6)
    tied = SVM(kernel=kernel).fit(x[:150], y[:150]).predict_with_sums(np.zeros_like(x[:3]))[0]
    np.testing.assert_array_equal(tied, svm_.predict(np.zeros_like(x[:3])))
