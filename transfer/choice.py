"""Which engine, and in which precision: measured on the spot, weighed against what each costs to set up.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import UserError
from transfer.engines import Engine, Features, Pixels, Plan
from transfer.timing import now

# What is usual, from measurements on one processor: how many times as fast as plain fp32, and seconds until ready.
# They only decide which ways are worth a trial; which is taken, the trial decides.
USUAL_GAIN = {"eager": 1.0, "openvino": 1.7, "compile": 1.7, "fp32": 1.0, "bf16": 2.0, "fp16": 2.0}
USUAL_SETUP_S = {"eager": 1.0, "openvino": 3.0, "compile": 24.0}
# Batches are timed until so much time is full.
TIMED_S = 0.1
# The least cosine of an image's features with those of plain fp32. Where the user named the precision its error
# is what was asked for, and only an engine that is plainly wrong is refused.
AGREES, SANE = 0.999, 0.99

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The plan that was taken, and why."""

    plan: Plan
    reason: str
    """`asked for`, `in the store`, `too few images for a trial`, `measured` or `measured before`."""
    trials: tuple[Trial, ...] = ()
    engine: Engine | None = None
    """Where a trial left it ready to run."""

    def __str__(self) -> str:
        """One line, with what the trials found."""
        told = ", ".join(f"{t.engine} {t.precision} {t.images_per_s:.1f}" for t in self.trials)
        return f"{self.plan.engine} {self.plan.precision}, {self.reason}" + (
            f" (images/s: {told})" if told else ""
        )


def known(records: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Trials kept as plain data; what is none is left out."""
    found = []
    for record in records:
        with contextlib.suppress(TypeError, KeyError, ValueError):
            numbers = {name: float(record[name]) for name in ("setup_s", "images_per_s", "cosine")}
            if numbers["images_per_s"] > 0:
                found.append(Trial(engine=record["engine"], precision=record["precision"], **numbers))
    return found


def told(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lines on the trials that a store keeps: for each network, input size and machine, what was found."""
    for entry in entries:
        declared, trials = entry["declared"], known(entry["trials"])
        with contextlib.suppress(
            KeyError, TypeError, ValueError
        ):  # the store is a folder that anything can be in
            height, width = declared["size"]
            yield f"trials        {declared['backbone']} {height}x{width} on {declared['machine']}"
            for trial in trials:
                yield (
                    f"              {trial.engine:8} {trial.precision:4} {trial.images_per_s:8.1f} images/s, "
                    f"ready in {trial.setup_s:.1f} s, cosine with fp32 {trial.cosine:.5f}"
                )


def settled(options: Sequence[Plan], left: Mapping[Plan, int], images: int) -> Choice | None:
    """The choice where nothing needs to be measured; None where it does.

    `left` is how many of the `images` the store does not hold, by plan. Half of them held settle it: what is
    computed is not computed again because another way is faster.
    """
    most_held = min(options, key=lambda plan: left[plan])
    if len(options) == 1:
        return Choice(plan=options[0], reason="asked for")
    if left[most_held] * 2 <= images:
        return Choice(plan=most_held, reason="in the store")
    if images <= 2 * options[0].batch:
        return Choice(plan=options[0], reason="too few images for a trial")
    return None


def choose(
    options: Sequence[Plan],
    left: Mapping[Plan, int],
    build: Callable[[Plan], Engine],
    x_NHW3: Pixels,
    known: Iterable[Trial],
    *,
    least_cosine: float,
) -> Choice:
    """The engine that will be done soonest with the images that are `left`, by plan.

    Each turn takes the way that is expected to be done first, by its trial where there was one (now or `known`
    from before), else by what is usual. If it has not been tried it is, on the pixels of a batch of the images
    themselves; if it has, that is the choice. Features are held against those of eager fp32. A way that errs
    is passed over, with a line in the log. Raises `UserError` where none is left.
    """
    trials = {(trial.engine, trial.precision): trial for trial in known}
    plain = replace(options[0], engine="eager", precision="fp32")
    yardstick: Features | None = None
    ready: dict[Plan, Engine] = {}
    failed: dict[Plan, str] = {}
    measured = False

    def expected_s(plan: Plan) -> float:
        trial = trials.get(_way(plan))
        if trial is None:
            gain = USUAL_GAIN[plan.engine] * USUAL_GAIN[plan.precision]
            return USUAL_SETUP_S[plan.engine] + left[plan] / (gain * trials[_way(plain)].images_per_s)
        if trial.cosine < least_cosine:
            return math.inf
        return (0 if plan in ready else trial.setup_s) + left[plan] / trial.images_per_s

    if _way(plain) not in trials:
        engine, trials[_way(plain)], yardstick = _try(plain, build, x_NHW3, None)
        measured = True
        if plain in options:
            ready[plain] = engine
    while True:
        plan = min((p for p in options if p not in failed), key=expected_s, default=None)
        if plan is None or expected_s(plan) == math.inf:
            raise UserError(_none_left(options, failed))
        try:
            if _way(plan) in trials:
                engine = ready[plan] if plan in ready else build(plan)
                reason = "measured" if measured else "measured before"
                return Choice(plan=plan, reason=reason, trials=tuple(trials.values()), engine=engine)
            if yardstick is None:
                yardstick = build(plain).submit(x_NHW3)()
            engine, trial, _ = _try(plan, build, x_NHW3, yardstick)
        except Exception as error:  # compilers and converters fail in every way; plain fp32 is always left
            failed[plan] = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("%s %s fails here (%s); going on without it", *_way(plan), failed[plan])
            continue
        trials[_way(plan)], measured = trial, True
        if trial.cosine < least_cosine:
            log.warning(
                "%s %s strays from fp32 (cosine %.4f, wanted %g); going on without it",
                *(*_way(plan), trial.cosine, least_cosine),
            )
        ready[plan] = engine
        if len(ready) > 1:  # each holds a network's weights and its working memory
            del ready[max(ready, key=expected_s)]


def _way(plan: Plan) -> tuple[str, str]:
    return plan.engine, plan.precision


def _try(
    plan: Plan, build: Callable[[Plan], Engine], x_NHW3: Pixels, yardstick: Features | None
) -> tuple[Engine, Trial, Features]:
    """An engine built and timed; `yardstick` (N, D) is what its features should be, None if they are it."""
    start = now(plan.device)
    engine = build(plan)
    x_ND = engine.submit(x_NHW3)()
    first_s = now(plan.device) - start
    batches, start = 0, now(plan.device)
    while (timed_s := now(plan.device) - start) < TIMED_S:
        waiting = [engine.submit(x_NHW3) for _ in range(engine.in_flight)]
        for wait in waiting:
            wait()
        batches += len(waiting)
    trial = Trial(
        engine=plan.engine,
        precision=plan.precision,
        setup_s=max(0.0, first_s - timed_s / batches),
        images_per_s=batches * len(x_NHW3) / timed_s,
        cosine=1.0 if yardstick is None else float(cosines(x_ND, yardstick).min()),
    )
    return engine, trial, x_ND


def cosines(x_ND: Features, y_ND: Features) -> npt.NDArray[np.float64]:
    """The cosine of each row with the row in its place; 0 where one of them is zero or not finite."""
    with np.errstate(all="ignore"):
        dot_N = np.einsum("nd,nd->n", x_ND, y_ND, dtype=np.float64)
        cosine_N = dot_N / (np.linalg.norm(x_ND, axis=1) * np.linalg.norm(y_ND, axis=1))
    return np.where(np.isfinite(cosine_N), cosine_N, 0.0)


def _none_left(options: Sequence[Plan], failed: Mapping[Plan, str]) -> str:
    told = "; ".join(
        f"{plan.engine} {plan.precision}: {failed.get(plan, 'strays from fp32')}" for plan in options
    )
    return f"no engine can do it here ({told}); try --engine eager --precision fp32"
