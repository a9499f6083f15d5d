from __future__ import annotations

import itertools

import numpy as np
import pytest

from transfer.heads import one_vs_one


def test_votes_are_counted_pair_by_pair() -> None:
    values = np.random.default_rng(0).normal(size=(20, 10))
    by_first_class = [values[:, own].T for _, own in one_vs_one.pairs_by_first_class(5)]
    counted = np.zeros((20, 5))
    for value, (a, b) in zip(values.T, itertools.combinations(range(5), 2), strict=True):
        counted[:, a] += value > 0
        counted[:, b] += value <= 0
    np.testing.assert_array_equal(one_vs_one.vote(by_first_class, 5, 20), counted)


@pytest.mark.parametrize("counts", [[3] * 40, [2, 0, *[5] * 30, 1, 4, 4], [1, 2]])
def test_values_are_those_of_pairs_one_by_one(counts: list[int]) -> None:
    rng = np.random.default_rng(0)
    n_classes, n_rows = len(counts), sum(counts)
    pairs = list(itertools.combinations(range(n_classes), 2))
    machines = one_vs_one.PairMachines(
        rng.normal(size=(n_classes - 1, n_rows)), rng.normal(size=len(pairs)), np.array(counts)
    )
    kernel_MN = rng.normal(size=(7, n_rows))
    class_N = np.repeat(np.arange(n_classes), counts)
    expected = [
        kernel_MN[:, class_N == first] @ machines.dual_KN[second - 1, class_N == first]
        + kernel_MN[:, class_N == second] @ machines.dual_KN[first, class_N == second]
        + machines.intercept_P[p]
        for p, (first, second) in enumerate(pairs)
    ]
    np.testing.assert_allclose(np.concatenate(list(machines.decide(kernel_MN))), expected, atol=1e-12)


def test_coefficients_at_their_bounds_are_packed_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, bounds = np.array([2, 1, 3]), np.array([0.1, 0.2, 0.3])
    at_bounds = [[0.1, 0.1, -0.2, -0.3, -0.3, -0.3], [0.1, 0.1, 0.2, -0.3, -0.3, -0.3]]
    some = np.array(at_bounds)
    some[0, 1], some[1, 2:4] = 0.05, 0.0
    machines = one_vs_one.PairMachines(some, np.arange(3.0), counts)
    assert machines.packed(bounds) is machines  # too small to be worth it
    monkeypatch.setattr(one_vs_one, "LEAST_PACKED_BYTES", 0)
    packed = machines.packed(bounds)
    assert isinstance(packed, one_vs_one.PackedMachines)
    assert [len(values) for _, values in packed.rows] == [1, 2]
    assert packed.whole().equals(machines)
    inside = one_vs_one.PairMachines(some / 2, np.arange(3.0), counts)
    assert inside.packed(bounds) is inside
