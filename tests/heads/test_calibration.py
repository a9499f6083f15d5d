from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.neighbors import KNeighborsClassifier

from transfer.heads import SVM, FineTune
from transfer.heads.calibration import ROWS, Calibration, ConfidentCounts, fit, outputs
from transfer.heads.knn import KNN
from transfer.heads.logreg import LogisticRegressionHead
from transfer.heads.ridge import RidgeHead

HEADS = [FineTune(epochs=3, device="cpu"), SVM(), RidgeHead(), LogisticRegressionHead(), KNN(k=3)]


def drawn(n_rows: int, n_classes: int, scale: float, offset: float) -> tuple[np.ndarray, ...]:
    """Outputs, the labels that they predict, and true ones with the probabilities that scale and offset say."""
    rng = np.random.default_rng(0)
    outputs_NC = scale * 2 * rng.normal(size=(n_rows, n_classes))
    codes_N = outputs_NC.argmax(1)
    shares_NC = softmax(outputs_NC / scale + offset * np.eye(n_classes)[codes_N], axis=1)
    return outputs_NC, codes_N, (rng.random((n_rows, 1)) > shares_NC.cumsum(1)).sum(1)


def rows(n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y_N = np.arange(120) % n_classes
    return (rng.normal(size=(120, 6)) + 1.5 * np.eye(n_classes, 6)[y_N]).astype(np.float32), y_N


@pytest.mark.parametrize("offset", [0.0, 1.5])
@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_what_labels_were_drawn_with_is_found(scale: float, offset: float) -> None:
    temperature, found = fit(*drawn(20_000, 5, scale, offset))
    assert temperature == pytest.approx(scale, rel=0.05)
    assert found == pytest.approx(offset, abs=0.1)


def test_a_head_that_is_always_right_is_not_taken_for_certain() -> None:
    y_N = np.arange(20) % 4
    temperature, offset = fit(5.0 * np.eye(4)[y_N], y_N, y_N)
    confidence = softmax(np.array([5.0 / temperature + offset, 0, 0, 0])).max()
    assert confidence == pytest.approx(
        1 - 0.75 / 22, abs=1e-3
    )  # 1 of 22 rows' weight lies on all four classes


@pytest.mark.parametrize("shape", [(0, 3), (4, 1), (4, 3)])
def test_without_rows_or_differences_nothing_is_changed(shape: tuple[int, int]) -> None:
    zeros = np.zeros(shape[0], int)
    assert fit(np.zeros(shape), zeros, zeros) == (1.0, 0.0)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_labels_stay_and_probabilities_are_of_them(head: Any, n_classes: int) -> None:
    x_ND, y_N = rows(n_classes)
    head = head.fit(x_ND[:80], y_N[:80] + 3)  # labels are no indices
    calibration = Calibration.fit(head, x_ND[80:100], y_N[80:100] + 3)
    labels_N, confidence_N = calibration.predict(head, x_ND)
    np.testing.assert_array_equal(labels_N, head.predict(x_ND))
    probabilities_NC = calibration.predict_proba(head, x_ND)
    np.testing.assert_allclose(probabilities_NC.sum(1), 1)
    own = probabilities_NC[np.arange(120), labels_N - 3]
    np.testing.assert_allclose(own, confidence_N)
    assert (confidence_N > 0).all()
    assert (confidence_N <= 1).all()


def test_a_temperature_of_one_leaves_the_probabilities_of_a_last_layer() -> None:
    x_ND, y_N = rows(3)
    head = FineTune(epochs=3, device="cpu").fit(x_ND, y_N)
    found = Calibration(temperature=1.0, offset=0.0, kept=[], right=[]).predict_proba(head, x_ND)
    np.testing.assert_allclose(found, head.predict_proba(x_ND), atol=1e-6)


def test_shares_of_neighbours_are_distinguished_by_their_logarithms() -> None:
    x_ND, y_N = rows(3)
    head = KNeighborsClassifier(5).fit(x_ND, y_N)
    codes_N, outputs_NC = outputs(head, x_ND)
    np.testing.assert_array_equal(codes_N, head.predict(x_ND))
    np.testing.assert_allclose(softmax(outputs_NC, axis=1), head.predict_proba(x_ND), atol=1e-5)


def test_validation_rows_are_counted_by_confidence() -> None:
    probability_N = np.array([0.505, 0.8, 0.9, 0.999])
    values_N = np.log(probability_N / (1 - probability_N))
    head = SimpleNamespace(
        classes_=np.array([0, 1]),
        predict=lambda X: np.ones(len(X), int),
        decision_function=lambda X: X[:, 0],
    )
    y_N = np.array([1, 0, 1, 1])
    fitted = Calibration.fit(head, values_N[:, None], y_N)
    confidence_N = fitted.predict(head, values_N[:, None])[1]
    assert fitted.count_confident(0.709) == fitted.count_confident(0.7)
    for least in (0.0, 0.5, 0.7, 0.95, 1.0):
        reach_N = confidence_N >= least
        counts = fitted.count_confident(least)
        right = (reach_N & (y_N == 1)).sum()
        assert (counts.rows, counts.confident, counts.right) == (4, reach_N.sum(), right)


def test_the_interval_of_counts_is_wilsons() -> None:
    low, high = ConfidentCounts(rows=100, confident=50, right=45).ci95
    assert (low, high) == (pytest.approx(0.7864, abs=1e-4), pytest.approx(0.9565, abs=1e-4))
    assert ConfidentCounts(rows=100, confident=0, right=0).ci95 == (0.0, 1.0)


def test_counts_are_said_in_one_line() -> None:
    assert str(ConfidentCounts(rows=100, confident=50, right=45)) == (
        "of 100 validation images 50 were as sure, and 90% of these right (79% to 96%)"
    )
    assert str(ConfidentCounts(rows=100, confident=0, right=0)) == "none of 100 validation images was as sure"


def test_many_rows_are_predicted_in_parts() -> None:
    x_ND, y_N = rows(3)
    head = RidgeHead().fit(x_ND, y_N)
    calibration = Calibration.fit(head, x_ND, y_N)
    many_ND = np.tile(x_ND, (ROWS // 60, 1))
    labels_N, confidence_N = calibration.predict(head, many_ND)
    np.testing.assert_array_equal(labels_N, head.predict(many_ND))
    np.testing.assert_allclose(confidence_N[:120], calibration.predict(head, x_ND)[1], rtol=1e-5)
    assert calibration.predict_proba(head, many_ND).shape == (len(many_ND), 3)
    assert calibration.predict(head, x_ND[:0])[0].tolist() == []


def test_many_rows_are_fitted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_rows = drawn(1000, 5, 2.0, 1.0)
    whole = fit(*drawn_rows)
    monkeypatch.setattr("transfer.heads.calibration.ROWS", 300)
    np.testing.assert_allclose(fit(*drawn_rows), whole, rtol=1e-9)
