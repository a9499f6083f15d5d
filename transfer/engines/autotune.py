"""Which engine, and in which precision: measured on the spot, weighed against what each costs to set up.

N: images. H, W: height and width in pixels. D: features an image.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from transfer import engines
from transfer.engines import Engine, EngineError, FeatureRows, Pixels, Plan
from transfer.engines.trials import Trial, try_engine
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent
from transfer.system.timer import now

# What is usual: how many times as fast as plain fp32, and seconds until ready. The trial decides which is taken.
USUAL_PRECISION_GAIN = {"fp32": 1.0, "bf16": 2.0, "fp16": 2.0}
# The first way beside plain fp32 must promise to be done in this share of its time. Later ones may turn out to be so
# many times as fast as usual: few seconds, which `TRIAL_SHARE` limits, show whether they are.
WORTH_A_TRIAL, HOPE = 0.9, 1.25
# Ways beyond the first are tried in this share of the seconds that the best known takes. The first may take so long to
# set up in any case.
TRIAL_SHARE, SHORT_SETUP_S = 0.05, 3.0
# Of the cores, even where other processes take all: setting up ends sometime.
LEAST_FREE = 0.1
# Rounds of batches have at most this share of the images that are left, an image in plain fp32 counted as several.
TIMED_SHARE, PLAIN_COUNTS = 0.025, 4
# Ways are held against plain fp32 on one image for so many that are left, within these limits.
COMPARED_FOR, LEAST_COMPARED, MOST_COMPARED = 200, 4, 16
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
    """`asked for`, `the cache holds its features`, `too few images for a trial`, `measured` or `measured before`.

    A single option counts as asked for, also where the machine has no other or the others have failed.
    """
    trials: tuple[Trial, ...] = ()
    engine: Engine | None = None
    """Where a trial left it ready to run."""

    def __str__(self) -> str:
        """One line, with what the trials found."""
        rates = ", ".join(f"{t.engine} {t.precision} {t.images_per_s:.1f}" for t in self.trials)
        taken = f"{self.plan.engine} {self.plan.precision}, {self.reason}"
        return f"{taken} (images/s: {rates})" if rates else taken


def choose_without_trials(
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


def count_compared(left: Mapping[Plan, int]) -> int:
    """Return on how many images, at most a batch, ways are held against plain fp32."""
    batch = min(plan.batch for plan in left)
    return min(batch, MOST_COMPARED, max(LEAST_COMPARED, min(left.values()) // COMPARED_FOR))


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
    unless that trial is old or the machine was busy), else by what is usual. If it has not been tried it is, on some
    of the images themselves; if it has, that is the choice. What would take too long to try is left out. An engine
    that fails is skipped, with a line in the log.

    Parameters
    ----------
    options : sequence of Plan
    left : mapping of Plan to int
        How many images the store does not hold.
    build : callable
        Builds the engine of a plan.
    x_NHW3 : ndarray of shape (N, H, W, 3), uint8
        Some of the images, as many as `count_compared` says.
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
        self.spent_s = 0.0
        """On trials since the first way beside plain fp32 that works."""
        self._plain = replace(options[0], engine="eager", precision="fp32")
        self._expected_ND: FeatureRows | None = None
        if _way(self._plain) not in self.found:
            self._run_plain()

    @property
    def open(self) -> list[Plan]:
        """The options that have not failed, and were tried or may be."""
        return [plan for plan in self.options if plan not in self.failed and self._may_try(plan)]

    def _tried(self) -> dict[Plan, float]:
        """Seconds that the options take which are known to work."""
        tried = {
            plan: self.expected_s(plan)
            for plan in self.options
            if plan not in self.failed and _way(plan) in self.found
        }
        return {plan: seconds for plan, seconds in tried.items() if seconds < math.inf}

    def _may_try(self, plan: Plan) -> bool:
        """Return whether an option was tried, or its trial costs little of what it decides about."""
        tried = self._tried()
        if not tried or _way(plan) in self.found:
            return True
        if tried.keys() == {self._plain} and engines.ENGINES[plan.engine].usual_setup_s <= SHORT_SETUP_S:
            return True
        return self._usual_setup_s(plan) <= TRIAL_SHARE * min(tried.values()) - self.spent_s

    def _usual_setup_s(self, plan: Plan) -> float:
        """Seconds that an engine usually takes until it is ready, in the share of the cores that is free here."""
        busy = self.found[_way(self._plain)].contention or 0.0
        return engines.ENGINES[plan.engine].usual_setup_s / max(1 - busy, LEAST_FREE)

    def expected_s(self, plan: Plan) -> float:
        """Seconds until the images that are left are done; infinite for a way that disagrees with fp32."""
        trial = self.found.get(_way(plan))
        if trial is None:
            # Against eager in the same precision, where that is known, only the engine's own gain is a guess.
            base = self.found.get(("eager", plan.precision))
            plain = self.found[_way(self._plain)].images_per_s * USUAL_PRECISION_GAIN[plan.precision]
            images_per_s = (base.images_per_s if base else plain) * engines.ENGINES[plan.engine].usual_gain
            is_first = all(way == _way(self._plain) for way in self.found)
            images_per_s *= WORTH_A_TRIAL if is_first else HOPE
            return self._usual_setup_s(plan) + self.left[plan] / images_per_s
        if trial.cosine < self.least_cosine:
            return math.inf
        return (0 if plan in self.ready else trial.setup_s) + self.left[plan] / trial.images_per_s

    def run(self, plan: Plan) -> None:
        """Try a way; of it and the best so far, the engine of the better one stays ready."""
        if self._expected_ND is None:
            self._run_plain()
        is_rival, begun = self._tried().keys() - {self._plain}, now(plan.device)
        engine, trial, _ = try_engine(plan, self.build, self.x_NHW3, self._expected_ND, self._timed())
        if is_rival:
            self.spent_s += now(plan.device) - begun
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
        # It has the images of the trial alone, without those that fill up a batch.
        plan = replace(self._plain, batch=len(self.x_NHW3))
        try:
            engine, trial, self._expected_ND = try_engine(
                plan, self.build, self.x_NHW3, None, self._timed() / PLAIN_COUNTS
            )
        except EngineError as error:
            hint = "; try `device='cpu'`" if self._plain.device == "cuda" else ""
            raise UserError(f"plain PyTorch in fp32 fails here ({error.reason}){hint}") from error
        self.found[_way(self._plain)], self.measured = trial, True
        if plan in self.options:
            self.ready[plan] = engine

    def _timed(self) -> float:
        """Return how many images may be timed."""
        return TIMED_SHARE * min(self.left.values())

    def none_left(self) -> str:
        """Why no option is left."""
        reasons = ((plan, self.failed.get(plan, "disagrees with fp32")) for plan in self.options)
        listed = "; ".join(f"{plan.engine} {plan.precision}: {reason}" for plan, reason in reasons)
        return f"no engine can do it here ({listed}); try `engine='eager', precision='fp32'`"


def _way(plan: Plan) -> tuple[str, str]:
    return plan.engine, plan.precision
