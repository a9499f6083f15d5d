import pytest
from scipy.stats import beta, binomtest

from transfer.evaluation.shares import NORMAL_QUANTILE, jeffreys, score_interval, tango, wilson


def test_wilson_equals_scipys() -> None:
    for hits, n in ((0, 4), (3, 4), (4, 4), (200, 256)):
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits / n, n, NORMAL_QUANTILE) == pytest.approx(tuple(expected), abs=1e-12)


def test_a_score_interval_of_a_count_is_that_of_a_poisson_number() -> None:
    square = NORMAL_QUANTILE**2
    for count in (0, 1, 7):
        middle, half = count + square / 2, (square * (count + square / 4)) ** 0.5
        low, high = score_interval(count / 100, 1e12, NORMAL_QUANTILE, count / 100**2, 1 / 100)
        assert (100 * low, 100 * high) == pytest.approx((middle - half, middle + half), abs=1e-7)


def test_jeffreys_is_a_beta_posterior_up_to_the_ends() -> None:
    assert jeffreys(0.3, 10) == pytest.approx(tuple(beta.ppf([0.025, 0.975], 3.5, 7.5)))
    low, high = jeffreys(0.0, 4)
    assert low == 0
    assert high == pytest.approx(beta.ppf(0.975, 0.5, 4.5))
    assert jeffreys(1.0, 4)[1] == 1


def test_tangos_interval_is_that_of_published_examples_and_exact_without_a_trial_that_differs() -> None:
    # Fagerland, Lydersen and Laake 2014 (doi:10.1002/sim.6148), 21 children before and after a transplantation.
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    square = NORMAL_QUANTILE**2
    for n in (1, 5, 256):
        assert tango(0, 0, n)[1] == pytest.approx(square / (n + square))
        assert tango(n, 0, n)[1] == 1
    for n in range(1, 9):
        for gains in range(n + 1):
            for losses in range(n + 1 - gains):
                low, high = tango(gains, losses, n)
                assert -1 <= low <= (gains - losses) / n <= high <= 1
                assert tango(losses, gains, n) == pytest.approx((-high, -low))
