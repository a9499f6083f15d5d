"""Several backbones and input sizes on the same images: each combination, a candidate, is an ordinary run.

The images are listed and read once, so splits are the same. With a time budget candidates are dropped before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from transfer.config import RunConfig
from transfer.data.dataset import ImageSet
from transfer.evaluation import time_budget
from transfer.evaluation.candidate_list import Candidate as Candidate
from transfer.evaluation.candidate_list import list_candidates as list_candidates
from transfer.evaluation.experiment import Experiment, compare
from transfer.evaluation.time_budget import Halving, Measured
from transfer.features.extract import extract
from transfer.features.image_sets import find_images
from transfer.features.plan import plan_extraction
from transfer.features.reading import ReadImages, read_alone
from transfer.heads.registry import METHODS
from transfer.heads.threads import limited_threads
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.progress import Progress, reported, silent
from transfer.system.text import first_line
from transfer.system.timer import Stopwatch

SCHEMA_VERSION = 1
COMPARED, DROPPED, FAILED, NOT_REACHED = "compared", "dropped", "failed", "not reached"
# Phases of a round that no later one has: the images are read once, and trials of engines are kept.
_ONCE = ("read", "draw", "choose", "calibrate", "extract", "matrix products")

Made = TypeVar("Made")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Outcome:
    """What became of a candidate, and why it was not compared."""

    state: str
    reason: str | None = None
    seconds: float | None = None


def compare_candidates(
    candidates: Sequence[Candidate],
    keep: Callable[[Candidate, Experiment], None],
    on_progress: Progress = silent,
    *,
    time_budget_s: float | None = None,
    images: ImageSet | None = None,
) -> dict[str, Any]:
    """Compare the methods on the features of every candidate, or of those that a time budget leaves.

    Parameters
    ----------
    candidates : sequence of Candidate
        From `list_candidates`.
    keep : callable
        Called with each candidate whose comparison is finished; it is not kept in memory.
    on_progress : Progress
    time_budget_s : float, optional
        Seconds, for all of it. The best candidate by the rounds of `time_budget.halve` is compared in any case.
    images : ImageSet, optional
        The image set, where the caller has found it.

    Returns
    -------
    dict
        As `frontier.schema.json` describes it, but for `points`. A candidate that fails is in it, with the reason.

    Raises
    ------
    UserError
        If the images can't be read, or no candidate could be compared.

    Examples
    --------
    >>> from transfer import RunConfig
    >>> from transfer.evaluation.candidates import compare_candidates, list_candidates
    >>> config = RunConfig(
    ...     data="images", weights="random", methods=("ridge",), repeats=0, engine="eager", precision="fp32"
    ... )
    >>> candidates, accuracy = list_candidates(config, ["resnet18"], [(32, 48), (48, 64)]), {}
    >>> def keep(one, done):
    ...     accuracy[one.name] = done.result.method("ridge")["test"]["accuracy"]
    >>> record = compare_candidates(candidates, keep)
    >>> [one["state"] for one in record["candidates"]], sorted(accuracy)
    (['compared', 'compared'], ['resnet18-32x48', 'resnet18-48x64'])
    """
    watch, config = Stopwatch(), candidates[0].config
    image_set = images or find_images(config, watch, on_progress)
    read = read_alone(image_set, config, on_progress)
    outcomes = {one.name: _Outcome(NOT_REACHED) for one in candidates}
    configs = {one.name: one.config for one in candidates}
    halving = None
    if time_budget_s is not None:
        halving = _halve(configs, read, watch, time_budget_s, on_progress)
        outcomes |= {name: _Outcome(DROPPED, reason) for name, reason in halving.dropped.items()}
        outcomes |= {name: _Outcome(FAILED, reason) for name, reason in halving.failed.items()}
        outcomes |= dict.fromkeys(halving.not_reached, _Outcome(NOT_REACHED, halving.stopped))
    left = halving.ranked if halving else list(outcomes)
    fit_s = 0.0
    for i, name in enumerate(left):
        if halving and time_budget_s is not None and fit_s:
            needed, used = halving.last[name].predict(halving.missing(name)) + fit_s, watch.total()
            if used + needed > time_budget_s:
                outcomes[name] = _Outcome(
                    NOT_REACHED,
                    f"it would take {needed:.0f} s more, and {used:.0f} of {time_budget_s:.0f} s were used",
                )
                continue
        log.info("%s (%d of %d)", name, i + 1, len(left))
        start = watch.total()
        try:
            extract_s = _contain(
                name, partial(_compare, Candidate(name=name, config=configs[name]), keep, read, on_progress)
            )
        except UserError as error:
            outcomes[name] = _Outcome(FAILED, str(error))
            continue
        spent_s = watch.total() - start
        outcomes[name], fit_s = _Outcome(COMPARED, None, spent_s), max(fit_s, spent_s - extract_s)
    if not any(one.state == COMPARED for one in outcomes.values()):
        raise UserError("no candidate could be compared; the lines above say why")
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {"name": image_set.name, "classes": len(image_set.classes), "images": len(read.indexed)},
        "config": {"select": config.select, "seed": config.seed, "time_budget_s": time_budget_s},
        "candidates": [_describe_candidate(one, outcomes[one.name]) for one in candidates],
        "halving": _describe_halving(halving) if halving else None,
        "seconds": watch.total(),
    }


def _compare(
    one: Candidate, keep: Callable[[Candidate, Experiment], None], read: ReadImages, on_progress: Progress
) -> float:
    """Compare and keep a candidate; return the seconds of its extraction."""
    done = compare(one.config, on_progress, read)
    keep(one, done)
    return done.features.extraction.extract_s


def _contain(name: str, call: Callable[[], Made]) -> Made:
    """Return what is called; errors that cost this candidate alone are logged, and raised as `UserError`."""
    try:
        return call()
    except Exception as error:
        if not isinstance(error, UserError) and not is_out_of_memory(error):
            raise
        log.warning("%s failed: %s", name, first_line(error))
        raise UserError(first_line(error)) from error


def _halve(
    configs: dict[str, RunConfig],
    read: ReadImages,
    watch: Stopwatch,
    budget_s: float,
    on_progress: Progress,
) -> Halving:
    """Drop candidates by rounds on parts of the images that were read; `configs` get the engines that were chosen."""
    parts = time_budget.draw_parts(read.indexed, next(iter(configs.values())).seed)

    def measure(name: str, number: int) -> Measured:
        log.info("round %d on %d images: %s", number + 1, parts[number].sum(), name)
        call = partial(_measure, configs[name], read, parts[number], on_progress)
        measured, configs[name] = _contain(name, call)
        return measured

    sizes = [int(part.sum()) for part in parts]
    return time_budget.halve(list(configs), sizes, len(read.indexed), measure, watch.total, budget_s)


def _measure(
    config: RunConfig, read: ReadImages, rows: time_budget.Mask, on_progress: Progress
) -> tuple[Measured, RunConfig]:
    """Compute the features of some images and score the head on the validation images among them.

    The configuration is returned with the engine that was chosen: a trial that a busy machine disturbed is made again,
    and might choose another one, which has none of these features.
    """
    watch, plan = Stopwatch(), plan_extraction(config)
    features = extract(plan, read, watch, on_progress, rows)
    train, valid, extraction = features.splits["train"], features.splits["valid"], features.extraction
    with limited_threads(features.threads), watch("fit"), reported(on_progress, "fit", time_budget.HEAD):
        search = METHODS[time_budget.HEAD].build(config)
        search.fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
    once_s = sum(sum(watch.seconds.get(phase, ())) for phase in _ONCE)
    measured = Measured(
        score=float(search.cv_results_[search.best_index_][config.select]),
        computed=extraction.computed,
        images_per_s=extraction.computed / extraction.extract_s if extraction.computed else None,
        seconds=watch.total() - read.seconds,
        fixed_s=watch.total() - once_s,
    )
    return measured, replace(config, engine=extraction.plan.engine, precision=extraction.plan.precision)


def _describe_candidate(one: Candidate, outcome: _Outcome) -> dict[str, Any]:
    size = list(one.config.size) if one.config.size else None
    return {"name": one.name, "backbone": one.config.backbone, "size": size, **asdict(outcome)}


def _describe_halving(halving: Halving) -> dict[str, Any]:
    return {
        "head": time_budget.HEAD,
        "rounds": [
            {
                "share": one.share,
                "images": one.images,
                "candidates": [{"name": name, **asdict(own)} for name, own in one.measured.items()],
                "dropped": one.dropped,
            }
            for one in halving.rounds
        ],
        "stopped": halving.stopped,
    }
