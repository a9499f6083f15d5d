from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.heads.test_svm import blobs
from transfer.heads import primal_problem, primal_svm
from transfer.heads.svm import SVMSearch
from transfer.heads.svm_classifier import SVM
from transfer.system.errors import UserError

Array = np.ndarray
TINY_GB = 1e-6


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primal_problem, "CHUNK_BYTES", 20_000)


def objectives(coef: Array, intercept: Array, z: Array, y: Array, C: float, weight: str | None) -> Array:
    """The objective of every machine, as liblinear defines it."""
    classes, counts = np.unique(y, return_counts=True)
    cost = C * (len(y) / (len(classes) * counts) if weight else np.ones(len(classes)))
    found = []
    for k in range(len(coef)):
        positive = y == classes[1 if len(coef) == 1 else k]
        rest = cost[0] if len(coef) == 1 else C
        own = cost[1] if len(coef) == 1 else cost[k]
        slack = np.maximum(0, 1 - np.where(positive, 1, -1) * (z @ coef[k] + intercept[k]))
        found.append(
            (coef[k] @ coef[k] + intercept[k] ** 2) / 2 + (np.where(positive, own, rest) * slack**2).sum()
        )
    return np.array(found)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("classes", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_reaches_the_objective_of_linear_svc(
    monkeypatch: pytest.MonkeyPatch, standardize: bool, classes: int
) -> None:
    """Whether rows are gathered or not, and whether machines are factored one by one or not."""
    x, y = blobs(600, 20, classes)
    x = x if standardize else x - 10
    scaler = StandardScaler(with_mean=standardize, with_std=standardize).fit(x.astype(np.float64))
    z, shift, scale = (
        scaler.transform(x),
        *(part if standardize else 0 for part in (scaler.mean_, scaler.scale_)),
    )
    scale = scale if standardize else 1
    settings = [(C, weight) for C in (0.01, 1, 100) for weight in (None, "balanced")]
    expected = []
    for C, weight in settings:
        svc = LinearSVC(C=C, class_weight=weight, dual=False, tol=1e-8, max_iter=10_000).fit(z, y)
        expected.append(objectives(svc.coef_, svc.intercept_, z, y, C, weight))
    for gather_bytes, factored in ((0, 0), (1 << 29, 0), (1 << 29, np.inf)):
        monkeypatch.setattr(primal_svm, "GATHER_BYTES", gather_bytes)
        monkeypatch.setattr(primal_svm, "FACTORED_PRODUCTS", factored)
        fitted = primal_svm.fit(x, y, settings, standardize, "cpu")
        for (C, weight), (coef, intercept), best in zip(settings, fitted, expected, strict=True):
            own = coef.astype(np.float64) * scale
            own_intercept = intercept + (own / scale) @ np.broadcast_to(shift, 20)
            if classes == 2:
                own, own_intercept = -own, -own_intercept
            reached = objectives(own, own_intercept, z, y, C, weight)
            np.testing.assert_allclose(reached, best, rtol=1e-3)


@pytest.mark.slow
def test_separable_classes_reach_it_too() -> None:
    _reaches_it_at_a_large_cost(*blobs(90, 120, 3))


@pytest.mark.exhaustive
def test_separable_classes_of_the_lab_features_reach_it_too(boat_features: dict[str, Array]) -> None:
    x, y = boat_features["x_train"][::8, :64].astype(np.float32), boat_features["y_train"][::8]
    _reaches_it_at_a_large_cost(x, y)


def _reaches_it_at_a_large_cost(x: Array, y: Array) -> None:
    z = StandardScaler().fit_transform(x.astype(np.float64))
    (coef, intercept), *_ = primal_svm.fit(x, y, [(10.0, None)], True, "cpu")
    scaler = StandardScaler().fit(x.astype(np.float64))
    svc = LinearSVC(C=10, dual=False, tol=1e-8, max_iter=10_000).fit(z, y)
    reached = objectives(coef * scaler.scale_, intercept + coef @ scaler.mean_, z, y, 10, None)
    assert reached.sum() == pytest.approx(
        objectives(svc.coef_, svc.intercept_, z, y, 10, None).sum(), rel=1e-3
    )


@pytest.mark.parametrize("classes", [2, 5])
def test_beyond_the_budget_a_linear_svm_predicts_what_linear_svc_predicts(classes: int) -> None:
    x, y = blobs(700, 20, classes)
    names = np.array(list("abcdefghi"))[y]
    ours = SVM(memory_gb=TINY_GB).fit(x[:500], names[:500])
    scaler = StandardScaler().fit(x[:500].astype(np.float64))
    svc = LinearSVC(dual=False).fit(scaler.transform(x[:500]), names[:500])
    assert ours.one_vs_rest_ == (classes > 2)
    assert ours.coef_.shape == svc.coef_.shape
    np.testing.assert_array_equal(ours.predict(x[500:]), svc.predict(scaler.transform(x[500:])))
    expected = svc.decision_function(scaler.transform(x[500:]))
    np.testing.assert_allclose(ours.decision_function(x[500:]), expected, atol=0.02)


@pytest.mark.slow
def test_a_search_beyond_the_budget_goes_on_with_its_linear_settings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, y = blobs(300, 20, 4)
    with caplog.at_level(logging.WARNING, "transfer"):
        search = SVMSearch(C=(0.1, 1), memory_gb=TINY_GB, extend=False).fit(
            x[:200], y[:200], x[200:], y[200:]
        )
    assert "RBF settings are left out" in caplog.text
    assert [row["params"]["kernel"] for row in search.cv_results_] == ["linear", "linear"]
    alone = [SVM(C=C, memory_gb=TINY_GB).fit(x[:200], y[:200]).predict(x[200:]) for C in (0.1, 1)]
    np.testing.assert_array_equal(search.predict_each(x[200:]), alone)
    best = [row["params"] for row in search.cv_results_].index(search.best_params_)
    np.testing.assert_array_equal(search.predict(x[200:]), alone[best])


@pytest.mark.parametrize(
    "search", [SVM(kernel="rbf", memory_gb=TINY_GB), SVMSearch(kernels=("rbf",), memory_gb=TINY_GB)]
)
def test_rbf_alone_beyond_the_budget_is_refused_with_what_would_fit(search: Any) -> None:
    x, y = blobs(200, 20, 4)
    with pytest.raises(UserError, match="200 training images are too many .*; 7 would fit"):
        search.fit(x, y) if isinstance(search, SVM) else search.fit(x, y, x, y)


@pytest.mark.slow
def test_a_memory_map_is_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(400, 20, 3)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    lengths, real = [], np.require

    def require(part: Array, requirements: Any) -> Array:
        lengths.append(len(part))
        return real(part, requirements=requirements)

    monkeypatch.setattr(np, "require", require)
    one, two = (SVM(memory_gb=TINY_GB).fit(rows, y) for rows in (x, mapped))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    assert max(lengths) < 400


@pytest.mark.slow
def test_rows_in_any_order_of_memory_are_taken() -> None:
    x, y = blobs(400, 20, 3)
    expected = SVM(memory_gb=TINY_GB).fit(x, y).coef_
    for other in (np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(SVM(memory_gb=TINY_GB).fit(other, y).coef_, expected)


@pytest.mark.slow
def test_machines_in_groups_are_those_of_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(400, 20, 5)
    expected = SVM(memory_gb=TINY_GB).fit(x, y)
    monkeypatch.setattr(primal_svm, "MACHINE_BYTES", 2 * 20 * 400)
    np.testing.assert_allclose(SVM(memory_gb=TINY_GB).fit(x, y).coef_, expected.coef_, rtol=0.02, atol=1e-3)


@pytest.mark.slow
def test_fewer_rows_with_slack_than_features_reach_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no row violates its margin by much, machines are solved in terms of their rows."""
    monkeypatch.setattr(primal_svm, "FACTORED_PRODUCTS", np.inf)
    _reaches_it_at_a_large_cost(*blobs(90, 120, 3))


def test_steps_that_rows_cut_short_do_not_end_a_fit() -> None:
    """Classes that are nearly separable, at a large cost: steps of 0.001 of the length come before whole ones."""
    rng = np.random.default_rng(1)
    y = np.arange(300) % 5
    x = (rng.normal(size=(300, 20)) + 2 * rng.normal(size=(5, 20))[y]).astype(np.float32)
    (coef, intercept), *_ = primal_svm.fit(x, y, [(1000.0, None)], False, "cpu")
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        svc = LinearSVC(C=1000, dual=False, tol=1e-10, max_iter=20_000).fit(x.astype(np.float64), y)
    reached = objectives(coef, intercept, x, y, 1000, None)
    assert (reached <= 1.01 * objectives(svc.coef_, svc.intercept_, x, y, 1000, None)).all()


def test_a_path_of_costs_ends_where_a_fit_of_the_last_does() -> None:
    x, y = blobs(400, 20, 3)
    *_, (along, _) = primal_svm.fit(x, y, [(C, "balanced") for C in (0.01, 0.1, 1)], True, "cpu")
    ((alone, _),) = primal_svm.fit(x, y, [(1, "balanced")], True, "cpu")
    np.testing.assert_allclose(along, alone, rtol=0.02, atol=2e-3)


def test_a_fit_that_did_not_converge_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primal_svm, "MAX_STEPS", 2)
    with pytest.warns(ConvergenceWarning, match="stopped after 2 steps"):
        SVM(memory_gb=TINY_GB).fit(*blobs(400, 20, 3))


def test_constant_features_weigh_nothing() -> None:
    x, y = blobs(300, 6, 3)
    x[:, 2], x[:, 4] = 0, 12.5
    coef, _ = primal_svm.fit(x, y, [(1.0, None)], True, "cpu")[0]
    assert np.abs(coef[:, [2, 4]]).max() < 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_reaches_the_same_weights() -> None:
    x, y = blobs(600, 20, 4)
    (on_cpu, _), (on_cuda, _) = (
        primal_svm.fit(x, y, [(1.0, None)], True, device)[0] for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_cuda, on_cpu, atol=1e-2)
