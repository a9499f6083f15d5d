import numpy as np
import pytest
from scipy.stats import binom

from bench.studies import exact_coverage
from bench.studies.simulated import SCENARIOS
from transfer.evaluation.shares import jeffreys


def test_a_share_is_covered_exactly() -> None:
    # Of two images: none right has (0, 0.67), one right (0.06, 0.94), both right (0.33, 1).
    assert exact_coverage.cover_shares(jeffreys, 2, [0.5, 0.02, 0.99]) == pytest.approx(
        [1, binom.pmf(0, 2, 0.02), binom.pmf(2, 2, 0.99)]
    )


def test_fixed_class_counts_are_covered_more_where_recall_differs_between_classes() -> None:
    covered = {scenario: exact_coverage.cover_fixed_counts(scenario) for scenario in SCENARIOS}
    assert covered["near-perfect"] == pytest.approx(0.95)
    assert covered["svm"] > 0.98
    assert min(covered.values()) >= 0.95 - 1e-9


def test_zero_is_never_excluded_by_fewer_than_six_disagreements() -> None:
    # Of 2^5 results of five throws two are 6 %; of 2^6 two are 3 %.
    assert exact_coverage.cover_signs(1e-9) == pytest.approx(1)
    six_or_more = 1 - np.exp(-2.0) * sum(2.0**m / np.prod(np.arange(1, m + 1)) for m in range(6))
    assert 1 - 0.05 * six_or_more <= exact_coverage.cover_signs(2.0) < 1
    assert exact_coverage.cover_signs(30.0) == pytest.approx(0.95, abs=1e-3)
