import pytest
from scipy.stats import binom

from bench.studies import coverage
from transfer.evaluation.intervals import jeffreys


def test_a_share_is_covered_exactly() -> None:
    # Of two images: none right has (0, 0.67), one right (0.06, 0.94), both right (0.33, 1).
    assert coverage.cover_shares(jeffreys, 2, [0.5, 0.02, 0.99]) == pytest.approx(
        [1, binom.pmf(0, 2, 0.02), binom.pmf(2, 2, 0.99)]
    )


def test_a_score_without_spread_is_covered_by_intervals_that_hold_it() -> None:
    rows = list(coverage.cover_scores(runs=20))
    assert {row.score for row in rows} == {"accuracy", "macro F1", "recall"}
    assert all(row.covered + row.above + row.below == pytest.approx(1) for row in rows)
    assert min(row.covered for row in rows) > 0.7
