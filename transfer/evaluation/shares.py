"""95 % confidence intervals of a share, and of the difference of two shares of the same trials, from their counts."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv
from scipy.stats import norm

LEVEL = 0.95
NORMAL_QUANTILE = float(norm.ppf((1 + LEVEL) / 2))
Interval = tuple[float, float]


def wilson(share: float, n: float, critical: float) -> Interval:
    """Return Wilson's score interval (Wilson 1927) of a share of `n` independent trials.

    With an effective sample size, the share's binomial over its estimated variance, it is valid for any mean between 0
    and 1 (Franco et al. 2019, doi:10.1093/jssam/smy019).

    Parameters
    ----------
    share : float
    n : float
        Number of trials, not necessarily whole.
    critical : float
        Quantile of the normal or t distribution.

    Returns
    -------
    low, high : float
    """
    return score_interval(share, n, critical, share * (1 - share) / n, (1 - 2 * share) / n)


def score_interval(value: float, n: float, critical: float, variance: float, slope: float) -> Interval:
    """Return Wilson's interval of a mean between 0 and 1 whose variance rises by another slope than a share's.

    All truths whose squared distance from the value is at most the squared quantile times the variance there,
    `variance + slope * (truth - value) - (truth - value)^2 / n`. The slope is the third central moment over
    the variance, as in every exponential family (Barndorff-Nielsen 1978): by it the interval of a skewed estimate is
    longer on the side of the tail, as by the acceleration of Efron 1987 (doi:10.1080/01621459.1987.10478410).

    Parameters
    ----------
    value : float
    n : float
        Number of trials, not necessarily whole.
    critical : float
        Quantile of the normal or t distribution.
    variance : float
        That of the value.
    slope : float
        Derivative of the variance with respect to the truth.

    Returns
    -------
    low, high : float
    """
    square = critical**2
    centre = value + square * slope / 2 / (1 + square / n)
    half = critical / (1 + square / n) * np.sqrt(variance * (1 + square / n) + square * slope**2 / 4)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def jeffreys(share: float, n: float) -> Interval:
    """Return the Jeffreys interval of a share of `n` independent trials; it reaches the end if none or all succeed.

    Brown, Cai and DasGupta 2001 (doi:10.1214/ss/1009213286). For a few trials with a probability near 0 or 1 its
    coverage is better than that of Wilson's.

    Parameters
    ----------
    share : float
    n : float
        Number of trials, not necessarily whole.

    Returns
    -------
    low, high : float
    """
    tails = np.array([1 - LEVEL, 1 + LEVEL]) / 2
    low, high = betaincinv(n * share + 0.5, n * (1 - share) + 0.5, tails)
    return (0.0 if share == 0 else float(low), 1.0 if share == 1 else float(high))


def tango(gains: int, losses: int, n: int) -> Interval:
    """Return Tango's score interval of a difference of two shares of the same `n` trials.

    All differences whose squared distance from the observed one is at most the squared quantile times the variance that
    it has if they are true (Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B). Its
    coverage is near 95 % also if few trials differ; intervals that add trials of both kinds cover too much then.

    Parameters
    ----------
    gains, losses : int
        Trials in which the first alone succeeds, and those in which the second alone does.
    n : int
        All trials.

    Returns
    -------
    low, high : float
    """

    def excess(truth: float) -> float:
        # The most likely share of losses is the larger root of 2 n x^2 + linear x - losses truth (1 - truth).
        linear = (2 * n - gains + losses) * truth - gains - losses
        root = float(np.sqrt(max(linear**2 + 8 * n * losses * truth * (1 - truth), 0.0)))
        variance = n * ((root - linear) / (2 * n) + truth * (1 - truth))
        return (gains - losses - n * truth) ** 2 - NORMAL_QUANTILE**2 * variance

    # Half a trial away is in the interval; at the value itself the variance is 0 if no trial differs.
    below, above = ((gains - losses + step) / n for step in (-0.5, 0.5))
    low = -1.0 if losses == n else float(brentq(excess, -1, below))
    high = 1.0 if gains == n else float(brentq(excess, above, 1))
    return low, high
