"""Trials of engines, and what they found, as it is kept in the store and shown.

N: images. B: images in a batch. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer import engines
from transfer.engines import Engine, FeatureRows, Pixels, Plan
from transfer.metrics import cosines
from transfer.system import hardware
from transfer.system.timer import now

# Rounds of batches are timed until so much time is full, at least twice where a round takes less than a second.
TIMED_S, CHEAP_S = 0.1, 1.0
# A trial holds for so long: drivers, firmware and what else runs on a machine change.
MAX_AGE_S = 30 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a trial of an engine in a precision found."""

    engine: str
    precision: str
    setup_s: float
    """Seconds from the network to the engine's first features, less those that a batch takes later."""
    images_per_s: float
    cosine: float
    """Of features with those of eager fp32, the least over the images of the trial."""
    made_at: float
    """Seconds since 1970."""
    contention: float | None
    """The share of the cores this process may use that others took while it was timed; None where it is not known."""
    share: float | None = None
    """Of the rate of matrix products, what an extraction by it reached later, both measured in one run."""

    @property
    def is_current(self) -> bool:
        """Whether its seconds can still be relied on: it is recent, and the machine was not busy."""
        return 0 <= time.time() - self.made_at <= MAX_AGE_S and (self.contention or 0) <= hardware.BUSY


def try_engine(
    plan: Plan,
    build: Callable[[Plan], Engine],
    x_NHW3: Pixels,
    expected_ND: FeatureRows | None,
    most: float,
) -> tuple[Engine, Trial, FeatureRows]:
    """Build and time an engine.

    Parameters
    ----------
    plan : Plan
    build : callable
        Builds the engine of a plan.
    x_NHW3 : ndarray of shape (N, H, W, 3), uint8
        Images, at most a batch, which are repeated to make up a whole one.
    expected_ND : ndarray of shape (N, D), float32, or None
        What their features should be; None if those of this engine are that.
    most : float
        How many images may be timed, if more than a round has.

    Returns
    -------
    engine : Engine
        Ready to run.
    trial : Trial
        What was found.
    x_ND : ndarray of shape (N, D), float32
        Its features of the images.
    """
    begun = now(plan.device)
    engine = build(plan)
    x_BHW3 = np.resize(x_NHW3, (plan.batch, *x_NHW3.shape[1:]))  # repeats them
    if plan.device == "cuda" or engines.ENGINES[plan.engine].is_lazy:
        engines.submit(engine, x_BHW3)()
    contention = hardware.CpuContention()
    built_s = now(plan.device) - begun
    x_BD, round_s = _rounds(engine, x_BHW3, most)
    x_ND = x_BD[: len(x_NHW3)]
    first_s, usual_s = built_s + round_s[0], statistics.median_low(round_s)
    trial = Trial(
        engine=plan.engine,
        precision=plan.precision,
        setup_s=max(0.0, first_s - usual_s),
        images_per_s=engine.in_flight * plan.batch / usual_s,
        cosine=1.0 if expected_ND is None else float(cosines(x_ND, expected_ND).min()),
        made_at=time.time(),
        contention=contention.share(plan.threads),
    )
    return engine, trial, x_ND


def _rounds(engine: Engine, x_BHW3: Pixels, most: float) -> tuple[FeatureRows, list[float]]:
    """Time rounds, in seconds: as many batches as the engine takes at once; also return the features of one."""
    round_s: list[float] = []
    images = engine.in_flight * len(x_BHW3)
    while True:
        start = now(engine.plan.device)
        x_BD, *_ = [wait() for wait in [engines.submit(engine, x_BHW3) for _ in range(engine.in_flight)]]
        round_s.append(now(engine.plan.device) - start)
        is_enough = sum(round_s) >= TIMED_S and (len(round_s) > 1 or round_s[0] >= CHEAP_S)
        if is_enough or (len(round_s) + 1) * images > most:
            return x_BD, round_s


def parse_trials(records: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Read trials that were kept as plain data; what is none, or has a number that is not finite, is left out."""
    found = []
    for record in records:
        with contextlib.suppress(TypeError, KeyError, ValueError, OverflowError):
            numbers = {name: float(record[name]) for name in ("setup_s", "images_per_s", "cosine", "made_at")}
            contention = record.get("contention")
            share = record.get("share")
            finite = all(map(math.isfinite, [*numbers.values(), float(contention or 0), float(share or 0)]))
            if finite and numbers["images_per_s"] > 0:
                found.append(
                    Trial(
                        engine=str(record["engine"]),
                        precision=str(record["precision"]),
                        contention=None if contention is None else float(contention),
                        share=None if share is None else float(share),
                        **numbers,
                    )
                )
    return found


def describe_trials(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield lines on the trials that a store keeps: for each network, input size and machine, what was found."""
    for entry in entries:
        declared, trials = entry["declared"], parse_trials(entry["trials"])
        # The store is a folder: anything may lie in it.
        with contextlib.suppress(KeyError, TypeError, ValueError):
            height, width = declared["size"]
            yield f"trials        {declared['backbone']} {height}x{width} on {declared['machine']}"
            for trial in trials:
                reached = f", extraction at {trial.share:.0%} of the rate of products" if trial.share else ""
                yield (
                    f"              {trial.engine:8} {trial.precision:4} {trial.images_per_s:8.1f} images/s, "
                    f"ready in {trial.setup_s:.1f} s, cosine with fp32 {trial.cosine:.5f}{reached}"
                    f"{'' if trial.is_current else ' (old or made while the machine was busy: made again when needed)'}"
                )
