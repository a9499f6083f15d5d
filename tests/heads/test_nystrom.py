"""Nyström's approximation of RBF: with all rows as landmarks the exact kernel, otherwise that of scikit-learn."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_approximation import Nystroem
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.heads.test_svm import blobs
from transfer.heads import mapped, nystrom
from transfer.heads.nystrom import NystromRows, landmarks_that_fit
from transfer.heads.svm import SVMSearch
from transfer.heads.svm_classifier import SVM
from transfer.system.errors import UserError

# Of 600 rows, of which a Gram matrix would take 5.8 MB, 120 landmarks have room.
SMALL_GB = 120 * 4 * 600 / 1e9


@pytest.mark.parametrize("standardize", [True, False])
def test_products_of_features_are_the_kernel_of_all_landmarks(standardize: bool) -> None:
    x, y = blobs(300, 12, 3)
    z = StandardScaler().fit_transform(x.astype(float)) if standardize else x.astype(float)
    landmarks, features, root = NystromRows(x, y, 300, standardize, seed=0).features("scale")
    assert landmarks.gamma == pytest.approx(1 / (12 * z.var()), rel=1e-5)
    exact = RBF((2 * landmarks.gamma) ** -0.5)(z)
    np.testing.assert_allclose(features @ features.T, exact, atol=2e-6)
    np.testing.assert_array_equal(root, root.T)
    assert landmarks.counts_C.tolist() == np.bincount(y).tolist()


@pytest.mark.parametrize("classes", [2, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_landmarks", [40, 10_000])
def test_predicts_what_nystroem_before_linear_svc_predicts(classes: int, n_landmarks: int) -> None:
    x, y = blobs(500, 12, classes)
    ours = SVM(kernel="rbf", C=10.0, n_landmarks=n_landmarks, class_weight="balanced").fit(x[:300], y[:300])
    z = StandardScaler().fit(x[:300].astype(float)).transform(x)
    nystroem = Nystroem(gamma=ours._gamma, n_components=len(ours.support_vectors_))
    nystroem.fit(ours.support_vectors_)  # all of these rows: the same landmarks
    features = nystroem.transform(z)
    svc = LinearSVC(C=10.0, class_weight="balanced", dual=False, tol=1e-9, max_iter=10_000)
    svc.fit(features[:300], y[:300])
    assert len(ours.support_vectors_) == min(n_landmarks, 300)
    np.testing.assert_array_equal(ours.predict(x[300:]), svc.predict(features[300:]))
    np.testing.assert_allclose(
        ours.decision_function(x[300:]), svc.decision_function(features[300:]), atol=0.02
    )


def test_equal_landmarks_are_no_harm() -> None:
    x, y = blobs(200, 12, 3)
    doubled, labels = np.concatenate([x, x]), np.concatenate([y, y])
    svm = SVM(kernel="rbf", C=10.0, n_landmarks=400).fit(doubled, labels)
    once = SVM(kernel="rbf", C=20.0, n_landmarks=200).fit(x, y)
    np.testing.assert_allclose(svm.decision_function(x), once.decision_function(x), atol=0.02)


def test_a_search_beyond_the_budget_approximates_rbf_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    x, y = blobs(800, 12, 4)
    with caplog.at_level(logging.WARNING, "transfer"):
        search = SVMSearch(C=(0.1, 1), gamma=("scale", 0.01), memory_gb=SMALL_GB, seed=3, extend=False)
        search.fit(x[:600], y[:600], x[600:700], y[600:700])
    assert "approximated by Nyström's method with 120 landmarks" in caplog.text
    params = [row["params"] for row in search.cv_results_]
    assert {(own["kernel"], own.get("n_landmarks")) for own in params} == {("linear", None), ("rbf", 120)}
    for own, predicted in zip(params, search.predict_each(x[700:]), strict=True):
        alone = SVM(**own, memory_gb=SMALL_GB, seed=3).fit(x[:600], y[:600])
        np.testing.assert_array_equal(alone.predict(x[700:]), predicted)
    best = search.best_estimator_
    again = SVM(**best.get_params()).fit(x[:600], y[:600])
    np.testing.assert_array_equal(search.predict(x[700:]), again.predict(x[700:]))


def test_landmarks_are_those_of_the_seed() -> None:
    x, y = blobs(300, 12, 3)
    one, same, other = (
        SVM(kernel="rbf", n_landmarks=50, seed=seed).fit(x, y).support_vectors_ for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("part_bytes", [mapped.PART_BYTES, 4 * 72 * 50])
def test_mapped_rows_end_in_the_same_bits_as_in_memory(
    part_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "PART_BYTES", part_bytes)
    x, y = blobs(400, 12, 3)
    np.save(tmp_path / "x.npy", x)
    x_mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    inside, outside = (SVM(kernel="rbf", n_landmarks=60).fit(rows, y) for rows in (x, x_mapped))
    np.testing.assert_array_equal(inside.dual_coef_, outside.dual_coef_)
    np.testing.assert_array_equal(inside.decision_function(x), outside.decision_function(x_mapped))


def test_features_of_a_kernel_serve_its_added_settings() -> None:
    x, y = blobs(300, 12, 3)
    rows = NystromRows(x, y, 50, standardize=True, seed=0)
    assert rows.features("scale") is not rows.features(0.01)
    assert rows.features(0.01)[1] is rows.features(0.01)[1]


def test_what_has_no_approximation_is_refused_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    x, y = blobs(600, 12, 3)
    with pytest.raises(
        UserError, match="n_landmarks is 130; memory has room for 120 of 600 training images; give at most"
    ):
        SVM(kernel="rbf", n_landmarks=130, memory_gb=SMALL_GB).fit(x, y)
    with pytest.raises(UserError, match="too many for an RBF kernel .* a linear SVM takes any number"):
        SVM(kernel="rbf", n_landmarks=0, memory_gb=SMALL_GB).fit(x, y)
    with pytest.raises(UserError, match="too many for an RBF kernel"):  # 60 would be few
        SVM(kernel="rbf", memory_gb=SMALL_GB / 2).fit(x, y)
    for wrong in (-1, 2.5):
        with pytest.raises(UserError, match=f"n_landmarks is {wrong}; give a whole number from 0 up"):
            SVM(n_landmarks=wrong).fit(x, y)
    with caplog.at_level(logging.WARNING, "transfer"):
        search = SVMSearch(C=(1,), n_landmarks=0, memory_gb=SMALL_GB).fit(x, y, x, y)
    assert "RBF settings are left out" in caplog.text
    assert [row["params"]["kernel"] for row in search.cv_results_] == ["linear"]


def test_a_linear_svm_has_no_landmarks() -> None:
    x, y = blobs(200, 12, 3)
    svm: Any = SVM(n_landmarks=50).fit(x, y)
    assert svm.one_vs_rest_
    np.testing.assert_array_equal(svm.coef_, SVM(memory_gb=1e-9).fit(x, y).coef_)


def test_landmarks_fit_as_their_features_and_their_kernel_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert landmarks_that_fit(100, 1.0) == 100
    assert landmarks_that_fit(1_000_000, 4.0) == 1000
    assert landmarks_that_fit(10_000, 1e-3) == 25
    assert landmarks_that_fit(300, 16e-9 * 250**2) == 250
    monkeypatch.setattr(nystrom, "available_bytes", lambda: 16 * 600 * 30)
    assert landmarks_that_fit(600, None) == 30
