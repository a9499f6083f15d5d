from __future__ import annotations

import numpy as np

from transfer.heads.lbfgs import minimise

Array = np.ndarray


def test_the_least_value_of_a_long_valley_is_found() -> None:
    scales = np.logspace(0, 3, 40)
    found, n_iter, converged = minimise(
        lambda x: (1 + float(scales @ (x - 1) ** 2), 2 * scales * (x - 1)),
        np.zeros(40),
        max_iter=2000,
        tol=1e-14,
    )
    np.testing.assert_allclose(found, 1, atol=1e-5)
    assert converged
    assert n_iter < 300


def test_a_search_that_ends_far_from_the_optimum_says_so() -> None:
    def rough(x: Array) -> tuple[float, Array]:  # its slope promises what no step keeps
        return float(1 + np.abs(x).sum()), -np.ones_like(x)

    _, _, converged = minimise(rough, np.zeros(3), max_iter=100, tol=1e-7)
    assert not converged
