"""Which engine, and in which precision: measured on the spot, weighed against what each costs to set up.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from transfer import engines
from transfer.engines import Engine, EngineError, Features, Pixels, Plan
from transfer.engines.trials import Trial
from transfer.metrics import cosines
from transfer.system import hardware
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent
from transfer.system.timer import now

# What is usual: how many times as fast as plain fp32, and seconds until ready. The trial decides which is taken.
USUAL_PRECISION_GAIN = {"fp32": 1.0, "bf16": 2.0, "fp16": 2.0}
# A way that was not tried must promise to be done in this share of the time: the guess may be wrong, its trial costs.
WORTH_A_TRIAL = 0.9
# Rounds of batches are timed until so much time is full, at least twice where a round takes less than a second.
TIMED_S, CHEAP_S = 0.1, 1.0
# The least cosine of an image's features with those of plain fp32. Where the user named bf16 or fp16 its error is
# what was asked for, and only an engine that is plainly wrong is refused.
AGREES, SANE = 0.999, 0.99
# A reason: half of the images or more need not be computed again by it.
CACHED = "the cache holds its features"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The plan that was taken, and why."""

    plan: Plan
    reason: str
    """`asked for`, `the cache holds its features`, `too few images for a trial`, `measured` or `measured before`."""
    trials: tuple[Trial, ...] = ()
    engine: Engine | None = None
    """Where a trial left it ready to run."""

    def __str__(self) -> str:
        """One line, with what the trials found."""
        rates = ", ".join(f"{t.engine} {t.precision} {t.images_per_s:.1f}" for t in self.trials)
        taken = f"{self.plan.engine} {self.plan.precision}, {self.reason}"
        return f"{taken} (images/s: {rates})" if rates else taken


def settled(
    options: Sequence[Plan],
    left: Mapping[Plan, int],
    images: int,
    kept: Sequence[Trial] = (),
    *,
    least_cosine: float = AGREES,
) -> Choice | None:
    """Choose where nothing needs to be measured.

    Half of the images in the store settle it: what is computed is not computed again because another engine is faster.

    Parameters
    ----------
    options : sequence of Plan
    left : mapping of Plan to int
        How many of the images the store does not hold.
    images : int
    kept : sequence of Trial
        Earlier trials; what they know to disagree with fp32 is left out.
    least_cosine : float
        Features with a lower cosine with those of fp32 disagree.

    Returns
    -------
    Choice or None
        None where measuring pays.
    """
    if len(options) == 1:
        return Choice(plan=options[0], reason="asked for", trials=tuple(kept))
    wrong = {(trial.engine, trial.precision) for trial in kept if trial.cosine < least_cosine}
    allowed = [plan for plan in options if _way(plan) not in wrong]
    most_held = min(allowed, key=lambda plan: left[plan], default=None)
    if most_held and left[most_held] * 2 <= images:
        return Choice(plan=most_held, reason=CACHED, trials=tuple(kept))
    if images <= 2 * options[0].batch:
        return Choice(plan=options[0], reason="too few images for a trial", trials=tuple(kept))
    return None


def choose(
    options: Sequence[Plan],
    left: Mapping[Plan, int],
    build: Callable[[Plan], Engine],
    x_NHW3: Pixels,
    kept: Iterable[Trial],
    *,
    least_cosine: float,
    on_progress: Progress = silent,
) -> Choice:
    """Choose the engine that will be done soonest with the images that are left.

    Each turn takes the option that is expected to be done first, by its trial where there was one (now or earlier,
    unless that trial is old or the machine was busy), else by what is usual. If it has not been tried it is, on a batch
    of the images themselves; if it has, that is the choice. An engine that fails is skipped, with a line in the log.

    Parameters
    ----------
    options : sequence of Plan
    left : mapping of Plan to int
        How many images the store does not hold.
    build : callable
        Builds the engine of a plan.
    x_NHW3 : ndarray of shape (N, H, W, 3), uint8
        A batch of the images.
    kept : iterable of Trial
        Earlier trials.
    least_cosine : float
        Of features with those of eager fp32; options with a lower one are not chosen.
    on_progress : Progress
        Called in the phase `choose` with each way before it is tried; how many will be is not known.

    Returns
    -------
    Choice

    Raises
    ------
    UserError
        Where no option is left.
    """
    # Disagreement with fp32 does not age.
    kept = [trial for trial in kept if trial.is_current or trial.cosine < least_cosine]

    def build_reported(plan: Plan) -> Engine:
        on_progress("choose", 0, 1, " ".join(_way(plan)))
        return build(plan)

    trials = _Trials(options, left, build_reported, x_NHW3, kept, least_cosine)
    while True:
        plan = min(trials.open, key=trials.expected_s, default=None)
        if plan is None or trials.expected_s(plan) == math.inf:
            raise UserError(trials.none_left())
        try:
            if _way(plan) not in trials.found:
                trials.run(plan)
                continue
            engine = trials.ready[plan] if plan in trials.ready else build_reported(plan)
        except EngineError as error:
            trials.failed[plan] = error.reason
            log.warning("%s %s fails here (%s); continuing without it", *_way(plan), trials.failed[plan])
            continue
        reason = "measured" if trials.measured else "measured before"
        return Choice(plan=plan, reason=reason, trials=tuple(trials.found.values()), engine=engine)


class _Trials:
    """What is known of every way, and the engine that is best so far."""

    def __init__(
        self,
        options: Sequence[Plan],
        left: Mapping[Plan, int],
        build: Callable[[Plan], Engine],
        x_NHW3: Pixels,
        kept: Iterable[Trial],
        least_cosine: float,
    ) -> None:
        self.options, self.left, self.build, self.x_NHW3 = options, left, build, x_NHW3
        self.least_cosine = least_cosine
        self.found = {(trial.engine, trial.precision): trial for trial in kept}
        self.failed: dict[Plan, str] = {}
        self.ready: dict[Plan, Engine] = {}
        self.measured = False
        self._plain = replace(options[0], engine="eager", precision="fp32")
        self._expected_ND: Features | None = None
        if _way(self._plain) not in self.found:
            self._run_plain()

    @property
    def open(self) -> list[Plan]:
        """The options that have not failed."""
        return [plan for plan in self.options if plan not in self.failed]

    def expected_s(self, plan: Plan) -> float:
        """Seconds until the images that are left are done; infinite for a way that disagrees with fp32."""
        trial = self.found.get(_way(plan))
        if trial is None:
            # Against eager in the same precision, where that is known, only the engine's own gain is a guess.
            base = self.found.get(("eager", plan.precision))
            plain = self.found[_way(self._plain)].images_per_s * USUAL_PRECISION_GAIN[plan.precision]
            usual = engines.ENGINES[plan.engine]
            images_per_s = (base.images_per_s if base else plain) * usual.usual_gain
            return (usual.usual_setup_s + self.left[plan] / images_per_s) / WORTH_A_TRIAL
        if trial.cosine < self.least_cosine:
            return math.inf
        return (0 if plan in self.ready else trial.setup_s) + self.left[plan] / trial.images_per_s

    def run(self, plan: Plan) -> None:
        """Try a way; of it and the best so far, the engine of the better one stays ready."""
        if self._expected_ND is None:
            self._run_plain()
        engine, trial, _ = _try(plan, self.build, self.x_NHW3, self._expected_ND)
        self.found[_way(plan)], self.measured = trial, True
        if trial.cosine < self.least_cosine:
            log.warning(
                "%s %s disagrees with fp32 (cosine %.4f, wanted %g); continuing without it",
                *(*_way(plan), trial.cosine, self.least_cosine),
            )
        self.ready[plan] = engine
        if len(self.ready) > 1:  # each holds a network's weights and its working memory
            del self.ready[max(self.ready, key=self.expected_s)]

    def _run_plain(self) -> None:
        try:
            engine, trial, self._expected_ND = _try(self._plain, self.build, self.x_NHW3, None)
        except EngineError as error:
            hint = "; try `device='cpu'`" if self._plain.device == "cuda" else ""
            raise UserError(f"plain PyTorch in fp32 fails here ({error.reason}){hint}") from error
        self.found[_way(self._plain)], self.measured = trial, True
        if self._plain in self.options:
            self.ready[self._plain] = engine

    def none_left(self) -> str:
        """Why no option is left."""
        reasons = ((plan, self.failed.get(plan, "disagrees with fp32")) for plan in self.options)
        listed = "; ".join(f"{plan.engine} {plan.precision}: {reason}" for plan, reason in reasons)
        return f"no engine can do it here ({listed}); try `engine='eager', precision='fp32'`"


def _way(plan: Plan) -> tuple[str, str]:
    return plan.engine, plan.precision


def _try(
    plan: Plan, build: Callable[[Plan], Engine], x_NHW3: Pixels, expected_ND: Features | None
) -> tuple[Engine, Trial, Features]:
    """Build and time an engine; `expected_ND` is what its features should be, None if they are that."""
    begun = now(plan.device)
    engine = build(plan)
    x_ND = engines.submit(engine, x_NHW3)()
    first_s = now(plan.device) - begun
    # From here on: compilers run in processes of their own.
    contention = hardware.CpuContention()
    round_s = _rounds(engine, x_NHW3)
    usual_s = statistics.median_low(round_s)
    trial = Trial(
        engine=plan.engine,
        precision=plan.precision,
        setup_s=max(0.0, first_s - usual_s / engine.in_flight),
        images_per_s=engine.in_flight * len(x_NHW3) / usual_s,
        cosine=1.0 if expected_ND is None else float(cosines(x_ND, expected_ND).min()),
        made_at=time.time(),
        contention=contention.share(plan.threads),
    )
    return engine, trial, x_ND


def _rounds(engine: Engine, x_NHW3: Pixels) -> list[float]:
    """Time rounds, in seconds: as many batches as the engine takes at once."""
    round_s: list[float] = []
    while sum(round_s) < TIMED_S or (len(round_s) < 2 and round_s[0] < CHEAP_S):
        start = now(engine.plan.device)
        for wait in [engines.submit(engine, x_NHW3) for _ in range(engine.in_flight)]:
            wait()
        round_s.append(now(engine.plan.device) - start)
    return round_s
