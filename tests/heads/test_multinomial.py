from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression

from tests.heads.test_svm import blobs
from transfer.heads import multinomial
from transfer.heads.curvature import turn
from transfer.heads.logreg import LogisticRegressionHead, LogisticRegressionSearch
from transfer.heads.multinomial import Problem, SpannedRows, cross_entropy


def test_cross_entropy_is_precise_where_a_row_is_all_but_certain() -> None:
    loss, slope = cross_entropy(np.array([[40.0, 0.0, 0.0], [0.0, 3.0, 1.0]]), np.array([0, 2]))
    assert loss[0] == pytest.approx(2 * np.exp(-40), rel=1e-12)
    assert slope[0, 0] == pytest.approx(-2 * np.exp(-40), rel=1e-12)
    powers = np.exp([0.0, 3.0, 1.0])
    assert loss[1] == pytest.approx(np.log(powers.sum()) - 1, rel=1e-12)
    np.testing.assert_allclose(slope[1], powers / powers.sum() - [0, 0, 1], rtol=1e-12)


def test_the_slope_is_that_of_the_value_and_blocks_add_up() -> None:
    x, y = blobs(1100, 6, 4)
    z = x.astype(np.float64)
    problem = Problem(z, y, np.linspace(0.5, 2, len(y)))
    assert len(problem.blocks) > 1
    layer, direction = np.random.default_rng(0).standard_normal((2, 4 * 7)) / 10
    with ThreadPoolExecutor(2) as pool:
        slope = problem.evaluate(pool, layer)[1] @ direction
        after, before = (problem.evaluate(pool, layer + sign * 1e-5 * direction)[0] for sign in (1, -1))
        value = problem.evaluate(pool, layer)[0]
    assert slope == pytest.approx((after - before) / 2e-5, rel=1e-6)
    loss, _ = cross_entropy(z @ layer.reshape(4, 7)[:, :-1].T + layer.reshape(4, 7)[:, -1], y)
    assert value == pytest.approx(problem.cost_N @ loss + (layer.reshape(4, 7)[:, :-1] ** 2).sum() / 2)


@pytest.mark.slow
def test_fits_of_many_classes_reach_the_optimum_and_are_the_same_every_time() -> None:
    x, y = blobs(1200, 40, 60)
    y = np.unique(y, return_inverse=True)[1]
    x = (x - x.mean(0)) / x.std(0)
    search = LogisticRegressionSearch(C=(0.01, 0.1, 1), standardize=False, extend=False).fit(x, y, x, y)
    again = LogisticRegressionSearch(C=(0.01, 0.1, 1), standardize=False, extend=False).fit(x, y, x, y)
    for s, C in enumerate(search.C):
        head = search._estimator(s)
        tight = LogisticRegression(C=C, tol=1e-8, max_iter=20_000).fit(x.astype(np.float64), y)
        values = []
        for one in (head, tight):
            loss, _ = cross_entropy(x.astype(np.float64) @ one.coef_.T + one.intercept_, y)
            values.append(C * loss.sum() + (one.coef_.astype(np.float64) ** 2).sum() / 2)
        assert values[0] <= values[1] * (1 + 1e-5)
        np.testing.assert_array_equal(head.coef_, again._estimator(s).coef_)


def test_features_whose_products_overflow_are_refused_in_one_line() -> None:
    x, y = make_blobs(60, 8, centers=3, random_state=0)
    x = (1e25 * x).astype(np.float32)
    with pytest.raises(ValueError, match="overflow float32; scale them, or use standardize=True$"):
        LogisticRegressionHead(standardize=False).fit(x, y)
    assert LogisticRegressionHead(standardize=True).fit(x, y).score(x, y) > 0.9


def correlated(rows: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = blobs(rows, 40, 4)
    return x @ np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32), y


@pytest.mark.parametrize("most", [500, 100])
def test_rows_and_their_first_layer_are_turned_together(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = correlated(300)
    monkeypatch.setattr(multinomial, "MOST_SAMPLED", most)
    rows = SpannedRows.of(x, y, 1.0, standardize=True)
    z = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(rows.z_NR @ rows.z_NR.T, z @ z.T, rtol=1e-3, atol=0.01)
    coef, intercept = rows.fold(rows.start_CR)
    logits = x @ coef.T + intercept
    assert (logits.argmax(1) == y).mean() > 0.6
    start = rows.start_CR if rows.axes_RR is None else turn(rows.start_CR, rows.axes_RR)
    found = rows.turned_SR @ start[:, :-1].T + start[:, -1]
    np.testing.assert_allclose(found, logits[rows.sample_S], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("most", [500, 200])
def test_axes_save_iterations(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = correlated(400)
    monkeypatch.setattr(multinomial, "MOST_SAMPLED", most)
    n_iter = LogisticRegressionHead(C=10).fit(x, y).n_iter_
    monkeypatch.setattr(
        multinomial, "principal_axes", lambda z_SR, *_: np.eye(z_SR.shape[1], dtype=np.float32)
    )
    assert n_iter < 0.75 * LogisticRegressionHead(C=10).fit(x, y).n_iter_
