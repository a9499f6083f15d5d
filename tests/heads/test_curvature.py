from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from transfer.heads import curvature
from transfer.heads.curvature import Preconditioner, principal_axes, sum_curvature, turn

Array = np.ndarray
S, R, C, PENALTY = 200, 6, 4, 1.5


@pytest.fixture
def z_SR() -> Array:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((S, R)) @ rng.standard_normal((R, R))).astype(np.float32)


@pytest.fixture
def y_S() -> Array:
    return np.arange(S) % C


@pytest.fixture
def p_SC(z_SR: Array) -> Array:
    return softmax(z_SR @ np.random.default_rng(1).standard_normal((R, C)), axis=1)


@pytest.fixture
def cost_S() -> Array:
    return np.linspace(0.5, 2, S)


def slopes(p_SC: Array, y_S: Array) -> Array:
    return np.ascontiguousarray((p_SC - np.eye(C)[y_S]).T.astype(np.float32))


def slope_like() -> Array:
    """Numbers whose sum over the classes is zero, as that of slopes is."""
    v_CK = np.random.default_rng(2).standard_normal((C, R + 1))
    return (v_CK - v_CK.mean(0)).astype(np.float32)


def test_rows_have_no_curvature_in_common_along_the_axes(
    z_SR: Array, y_S: Array, p_SC: Array, cost_S: Array
) -> None:
    axes_RR = principal_axes(z_SR, slopes(p_SC, y_S), cost_S)
    np.testing.assert_allclose(axes_RR.T @ axes_RR, np.eye(R), atol=1e-5)
    curvature_S = cost_S * (p_SC * (1 - p_SC)).mean(1)
    second_RR = axes_RR.T @ (z_SR.T * curvature_S @ z_SR) @ axes_RR
    assert np.abs(second_RR - np.diag(np.diag(second_RR))).max() < 1e-5 * np.trace(second_RR)


def test_of_few_classes_each_coordinate_is_inverted_jointly(
    z_SR: Array, y_S: Array, p_SC: Array, cost_S: Array
) -> None:
    sums = sum_curvature(z_SR, slopes(p_SC, y_S), y_S, cost_S)
    given = Preconditioner.of(sums, C, PENALTY, None)
    v_CK = slope_like()
    found_CK = given.apply(v_CK.ravel()).reshape(C, R + 1)
    for r in range(R):
        weight_S = cost_S * z_SR[:, r].astype(np.float64) ** 2
        second_CC = np.diag(weight_S @ p_SC) - p_SC.T * weight_S @ p_SC + PENALTY * np.eye(C)
        np.testing.assert_allclose(
            found_CK[:, r], np.linalg.solve(second_CC, v_CK[:, r]), rtol=1e-3, atol=1e-6
        )
    # Intercepts have no penalty.
    second_CC = np.diag(cost_S @ p_SC) - p_SC.T * cost_S @ p_SC
    v_CK[:, -1] = second_CC @ [1, -2, 0, 1]
    np.testing.assert_allclose(
        given.apply(v_CK.ravel()).reshape(C, -1)[:, -1], [1, -2, 0, 1], rtol=1e-3, atol=1e-3
    )


def test_certain_rows_leave_the_penalty(z_SR: Array, y_S: Array, cost_S: Array) -> None:
    sums = sum_curvature(z_SR, np.zeros((C, S), np.float32), y_S, 1e10 * cost_S)
    v_CK = slope_like()
    found_CK = Preconditioner.of(sums, C, PENALTY, None).apply(v_CK.ravel()).reshape(C, R + 1)
    np.testing.assert_allclose(found_CK[:, :-1], v_CK[:, :-1] / PENALTY, rtol=1e-5)
    assert np.isfinite(found_CK).all()


def test_of_many_classes_all_have_the_mean_curvature(
    z_SR: Array, y_S: Array, p_SC: Array, cost_S: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curvature, "MOST_JOINT", C - 1)
    sums = sum_curvature(z_SR, slopes(p_SC, y_S), y_S, cost_S)
    v_CK = np.random.default_rng(2).standard_normal((C, R + 1)).astype(np.float32)
    found_CK = Preconditioner.of(sums, C, PENALTY, None).apply(v_CK.ravel()).reshape(C, R + 1)
    second_R = (cost_S * (p_SC * (1 - p_SC)).mean(1)) @ z_SR.astype(np.float64) ** 2 + PENALTY
    np.testing.assert_allclose(found_CK[:, :-1], v_CK[:, :-1] / second_R, rtol=1e-4)


def test_slopes_in_other_coordinates_are_turned_and_turned_back(
    z_SR: Array, y_S: Array, p_SC: Array, cost_S: Array
) -> None:
    axes_RR = principal_axes(z_SR, slopes(p_SC, y_S), cost_S)
    sums = sum_curvature(z_SR @ axes_RR, slopes(p_SC, y_S), y_S, cost_S)
    inside, outside = (Preconditioner.of(sums, C, PENALTY, axes) for axes in (None, axes_RR))
    v_CK = np.random.default_rng(2).standard_normal((C, R + 1)).astype(np.float32)
    expected_CK = inside.apply(turn(v_CK, axes_RR).ravel()).reshape(C, R + 1)
    found_CK = turn(outside.apply(v_CK.ravel()).reshape(C, R + 1), axes_RR)
    np.testing.assert_allclose(found_CK, expected_CK, rtol=1e-3, atol=1e-5)
