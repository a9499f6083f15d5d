from __future__ import annotations

import itertools

import numpy as np

from transfer.heads import one_vs_one


def test_votes_are_counted_pair_by_pair() -> None:
    values = np.random.default_rng(0).normal(size=(20, 10))
    by_first_class = [values[:, own].T for _, own in one_vs_one.pairs_by_first_class(5)]
    counted = np.zeros((20, 5))
    for value, (a, b) in zip(values.T, itertools.combinations(range(5), 2), strict=True):
        counted[:, a] += value > 0
        counted[:, b] += value <= 0
    np.testing.assert_array_equal(one_vs_one.vote(by_first_class, 5, 20), counted)
