"""Several ways of doing one thing, timed in turn, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transfer.system.timer import now

# OpenBLAS's threads spin after a product in wait for the next one, and keep the cores from whatever other library
# runs then: a Cholesky factor by SciPy took 0.78 s right after a product by NumPy, 0.27 s after 0.05 s of rest,
# 0.03 s after 0.1 s, 0.02 s after 0.2 s (medians, 2 cores).
REST_S = 0.1
# Ratios of a fit to itself by `python -m bench.studies.self_ratio` were off by up to 22 % with 4 rounds, and by up to
# 9 % with as many as these (2 shared cores).
MOST_ROUNDS = 24


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of doing what is timed.

    Parameters
    ----------
    call
        What is timed.
    warm_up
        Called once before the first round, untimed; `call` itself if None.
    at_most
        The number of rounds it takes part in, for ways that take many seconds; all rounds if None.
    """

    call: Callable[[], Any]
    warm_up: Callable[[], Any] | None = None
    at_most: int | None = None


def rest() -> None:
    """Collect garbage and wait until threads of earlier calls no longer spin."""
    gc.collect()
    time.sleep(REST_S)


def time_in_turn(
    ways: Mapping[str, Way],
    rounds: int,
    *,
    more_s: float = 0.0,
    warm_up: bool = True,
    clock: Callable[[], float] = now,
) -> dict[str, list[float]]:
    """Time ways in turn: every round calls each of them once, after a rest.

    Odd rounds go through the ways backwards (A B C, C B A, A B C), so that a machine that gets slower or faster
    harms none more than another. Rounds are interleaved as Google Benchmark's `--benchmark_enable_random_interleaving`
    does it, which measured 40 % less variation between runs
    (https://github.com/google/benchmark/blob/main/docs/random_interleaving.md).

    Parameters
    ----------
    ways
        The ways by name.
    rounds
        The number of rounds.
    more_s
        Further rounds are added, up to `MOST_ROUNDS` in all, until all rounds have taken so many seconds, rests
        included: short calls vary most from round to round, and many rounds of them cost little.
    warm_up
        Whether each way is warmed up before the first round.
    clock
        Gives seconds; on a GPU it waits until the device is done.

    Returns
    -------
    dict
        Raw seconds of every round of each way, in the order of `ways`.
    """
    if warm_up:
        for way in ways.values():
            (way.warm_up or way.call)()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    begin = now()
    for i in range(max(rounds, MOST_ROUNDS if more_s else 0)):
        if i >= rounds and now() - begin >= more_s:
            break
        for name in list(ways) if i % 2 == 0 else reversed(list(ways)):
            way = ways[name]
            if way.at_most is not None and i >= way.at_most:
                continue
            rest()
            start = clock()
            way.call()
            seconds[name].append(clock() - start)
    return seconds
