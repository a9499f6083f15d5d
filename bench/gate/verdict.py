"""Statistics of paired times: as fast as before, faster, slower, or inconclusive.

d: for each block the logarithm of the newer revision's time over the older one's. A block is a process of each, taking
turns; processes are independent, rounds within one are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import quantile_test, wilcoxon

from transfer.evaluation.significance import adjust_holm

SAME, FASTER, SLOWER, UNCLEAR = "SAME", "FASTER", "SLOWER", "UNCLEAR"
# How often one stage may flag anything as slower that is not, with all benchmarks together; and as faster.
ALPHA = 0.01
CONFIDENCE = 0.95
# A control that moved further than this shows that something else than the revisions did.
CONTROL_MOVED = 0.03


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The ratio of the newer to the older time of one benchmark."""

    median: float
    low: float
    high: float
    """The ends of the interval, its confidence at least 95 %."""
    slower_p: float
    """p of the hypothesis that the benchmark became slower by at most the tolerance."""
    faster_p: float


def ratio(logs: Sequence[float], tolerance: float) -> Ratio:
    """Estimate the ratio from `logs` (d, one a block), and test it against a `tolerance` such as 0.1.

    The tests are Wilcoxon's signed-rank tests (Biometrics Bulletin 1, 1945), exact, one-sided, of d shifted by the
    tolerance; the interval lies between order statistics (Conover, Practical Nonparametric Statistics, 1999, 3.2).
    """
    d, shift = np.asarray(logs), math.log1p(tolerance)
    interval = quantile_test(d, p=0.5).confidence_interval(CONFIDENCE)
    return Ratio(
        median=math.exp(np.median(d)),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        slower_p=wilcoxon(d - shift, alternative="greater", method="exact").pvalue,
        faster_p=wilcoxon(d + shift, alternative="less", method="exact").pvalue,
    )


def reject(p_values: Mapping[str, float], alpha: float = ALPHA) -> set[str]:
    """Return the names with a rejected hypothesis; any is rejected wrongly with a probability of at most `alpha`.

    Holm's procedure (Scandinavian Journal of Statistics 6, 1979).
    """
    adjusted = adjust_holm(list(p_values.values()))
    return {name for name, p in zip(p_values, adjusted, strict=True) if p <= alpha}


def flag(ratios: Mapping[str, Ratio]) -> dict[str, str]:
    """Return the benchmarks that are SLOWER or FASTER by more than the tolerance, according to one stage."""
    slower = reject({name: found.slower_p for name, found in ratios.items()})
    faster = reject({name: found.faster_p for name, found in ratios.items()})
    return dict.fromkeys(slower, SLOWER) | dict.fromkeys(faster, FASTER)


def judge(
    first: Mapping[str, Ratio], again: Mapping[str, Ratio], tolerance: float
) -> dict[str, tuple[Ratio, str]]:
    """Return ratio and verdict of every benchmark after its first stage, and `again` of those that it flagged.

    What was flagged is SLOWER or FASTER if both stages agree. Its ratio is that of the second stage: the first one was
    selected for being extreme and overestimates the difference.
    """
    flags, confirmed = flag(first), flag(again)
    found = {}
    for name, ratio in (*first.items(), *again.items()):
        if name in flags:
            agreed = confirmed.get(name) == flags[name]
            found[name] = ratio, flags[name] if agreed else UNCLEAR
        else:
            within = 1 / (1 + tolerance) < ratio.low and ratio.high < 1 + tolerance
            found[name] = ratio, SAME if within else UNCLEAR
    return found


def has_moved(control: Ratio) -> bool:
    """Return whether a control's median changed by more than is accepted."""
    return abs(math.log(control.median)) > math.log1p(CONTROL_MOVED)


def fewest_blocks(benchmarks: int) -> int:
    """Return the number of blocks below which nothing could be flagged: the smallest p is 2^-blocks."""
    return math.ceil(math.log2(benchmarks / ALPHA))
