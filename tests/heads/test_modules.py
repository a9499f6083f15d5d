from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from transfer.heads import SVM, FineTune, modules
from transfer.heads.calibration import Calibration
from transfer.heads.knn import KNN
from transfer.heads.logreg import LogisticRegressionHead
from transfer.heads.modules import build_module
from transfer.heads.ncm import NearestMean
from transfer.heads.ridge import RidgeHead
from transfer.heads.transforms import FeatureTransform, on_raw_features
from transfer.system.errors import UserError

HEADS = {
    "fine-tuning": FineTune(epochs=3, device="cpu"),
    "ridge": RidgeHead(),
    "logistic regression": LogisticRegressionHead(),
    "nearest mean": NearestMean(),
    "linear": SVM(),
    "rbf": SVM(kernel="rbf"),
    "raw rbf": SVM(kernel="rbf", standardize=False),
    "rbf by landmarks": SVM(kernel="rbf", n_landmarks=50, device="cpu"),
    "one against the rest": SVM(memory_gb=1e-9, device="cpu"),
}


def rows(n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_N = np.arange(120) % n_classes
    return (rng.normal(size=(120, 6)) + np.eye(n_classes, 6)[y_N]).astype(np.float32), y_N


def check(head: Any, n_classes: int) -> None:
    head.fit(*rows(n_classes))
    x_ND, y_N = rows(n_classes, seed=1)
    calibration = Calibration.fit(head, x_ND, y_N)
    label_N, share_NC = build_module(head, calibration)(torch.from_numpy(x_ND))
    assert (label_N.dtype, share_NC.dtype) == (torch.int64, torch.float32)
    np.testing.assert_array_equal(head.classes_[label_N.numpy()], calibration.predict(head, x_ND)[0])
    np.testing.assert_allclose(share_NC.numpy(), calibration.predict_proba(head, x_ND), atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("head", HEADS)
def test_labels_and_probabilities_are_those_of_the_head(head: str, n_classes: int) -> None:
    check(HEADS[head], n_classes)


@pytest.mark.parametrize("head", HEADS)
def test_steps_before_a_head_are_part_of_its_module(head: str) -> None:
    x_ND, y_N = rows(3)
    x_ND[0] = 0  # has no direction
    transform = FeatureTransform(steps=("l2", "pca:5", "whiten", "l2")).fit(x_ND)
    fitted = on_raw_features(HEADS[head].fit(transform.transform(x_ND), y_N), transform.steps_)
    calibration = Calibration.fit(fitted, x_ND, y_N)
    label_N, share_NC = build_module(fitted, calibration)(torch.from_numpy(x_ND))
    np.testing.assert_array_equal(label_N.numpy(), calibration.predict(fitted, x_ND)[0])
    np.testing.assert_allclose(share_NC.numpy(), calibration.predict_proba(fitted, x_ND), atol=1e-5)


def test_a_linear_svm_with_support_vectors_is_that_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of so many classes that one matrix would be too large."""
    monkeypatch.setattr("transfer.heads.svm_classifier.LARGEST_LAYER", 0)
    svm = SVM()
    check(svm, 4)
    assert not hasattr(svm, "coef_")


def test_features_far_from_zero_keep_their_digits() -> None:
    x_ND, y_N = rows(3)
    head = LogisticRegressionHead().fit(x_ND + 5e3, y_N)
    calibration = Calibration.fit(head, x_ND + 5e3, y_N)
    _, share_NC = build_module(head, calibration)(torch.from_numpy(x_ND + 5e3))
    np.testing.assert_allclose(share_NC.numpy(), calibration.predict_proba(head, x_ND + 5e3), atol=1e-5)


def test_the_first_of_classes_with_equal_votes_is_the_label() -> None:
    class Values(torch.nn.Module):
        def forward(self, x_ND: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, -1.0, 1.0]])  # 0 beats 1, 2 beats 0, 1 beats 2

    score_NC, _ = modules._ByPair(Values(), 3)(torch.zeros(1, 1))
    assert score_NC.argmax(1).tolist() == [0]
    assert len(set(score_NC[0].tolist())) == 3  # no library has to choose


def test_heads_that_are_not_exported_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = Calibration(temperature=1.0, offset=0.0, kept=[], right=[])
    with pytest.raises(UserError, match=r"KNN keeps all training features.*another `method`"):
        build_module(KNN().fit(*rows(3)), calibration)
    monkeypatch.setattr(modules, "LARGEST_LAYER", 10)
    with pytest.raises(UserError, match=r"3 pairs of classes over \d+ support vectors"):
        build_module(SVM(kernel="rbf").fit(*rows(3)), calibration)
