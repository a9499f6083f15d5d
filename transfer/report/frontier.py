"""Score against time: which of several networks and input sizes are worth their time, and what was not compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from transfer.evaluation.results import Result, conclude
from transfer.report.differences import compare_runs
from transfer.report.runs import Run, common_and_different
from transfer.report.same_images import SAME, relate
from transfer.report.wording import SCORES, format_points, format_seconds

# What must not differ for times to compare, and of what one must differ for a frontier to say anything.
_MACHINE, _NETWORK = {"data", "machine", "threads"}, {"backbone", "size"}
# Where the time of an image comes from.
RUN, TRIAL = "run", "trial"

RULE = (
    "On the frontier: no other one is as fast and has a higher score on the test split, and none of the same score is "
    "faster. Intervals of 95 % are of the same test images, not adjusted for the number of pairs."
)
TRIALS = (
    "Times marked * are those of an engine's trial, of the network alone: the features were in the store, and the "
    "others are from files to kept features."
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run by its score and its time."""

    run: Run
    seconds_per_image: float | None
    """None where no rate is recorded; then nothing else is known either."""
    timed: str | None = None
    rival: Run | None = None
    """The best of those that are as fast; None for the fastest."""
    difference: dict[str, Any] | None = None
    """Of the score, this run's minus the rival's, with `ci95`; None where it has no predictions."""
    on_frontier: bool = False


def find_frontier(runs: Sequence[Run]) -> list[Point]:
    """Place runs by the score of their best method on validation and the time that features of an image take.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    list of Point
        The fastest first, those without a time last. Empty unless all have the same test images and machine, the
        backbones or sizes differ, and two have a time.
    """
    _, different = common_and_different(runs)
    same = all(relate(runs[0], run) == SAME for run in runs[1:])
    devices = {run.result.engine["device"] for run in runs}
    if not same or len(devices) > 1 or _MACHINE & set(different) or not _NETWORK & set(different):
        return []
    select = runs[0].result.comparison["select"]
    times = {id(run): time_per_image(run.result) for run in runs}

    def key(run: Run) -> tuple[float, float]:
        seconds = times[id(run)][0]
        return (float("inf") if seconds is None else seconds, -run.best["test"][select])

    timed = sorted((run for run in runs if times[id(run)][0] is not None), key=key)
    if len(timed) < 2:
        return []
    points = []
    for i, run in enumerate(timed):
        rival = max(timed[:i], key=lambda other: other.best["test"][select], default=None)
        found = None
        if rival and rival.answers and run.answers:
            found = compare_runs(run, rival)[select]
        ahead = rival is None or run.best["test"][select] > rival.best["test"][select]
        seconds, source = times[id(run)]
        points.append(
            Point(
                run=run,
                seconds_per_image=seconds,
                timed=source,
                rival=rival,
                difference=found,
                on_frontier=ahead,
            )
        )
    untimed = [run for run in runs if times[id(run)][0] is None]
    return points + [Point(run=run, seconds_per_image=None) for run in untimed]


def time_per_image(result: Result) -> tuple[float | None, str | None]:
    """Return the seconds that features of an image take, and whether the run or a trial of its engine measured them."""
    if speed := result.features["images_per_s"]:
        return 1 / speed, RUN
    engine = result.engine
    for trial in engine.get("trials", ()):
        own = (trial["engine"], trial["precision"]) == (engine["name"], engine["precision"])
        if own and trial["images_per_s"]:
            return 1 / trial["images_per_s"], TRIAL
    return None, None


def format_time(point: Point) -> str:
    """Format the time of an image; `-` where it is not known."""
    if point.seconds_per_image is None:
        return "-"
    return f"{1000 * point.seconds_per_image:.3g} ms{' *' if point.timed == TRIAL else ''}"


def sentences(points: Sequence[Point]) -> list[str]:
    """Say of each point but the fastest what its time buys, and what the rule is.

    Parameters
    ----------
    points : sequence of Point

    Returns
    -------
    list of str
    """
    found = [_sentence(one) for one in points if one.rival or one.seconds_per_image is None]
    notes = [RULE, TRIALS] if any(one.timed == TRIAL for one in points) else [RULE]
    return [*found, *notes] if points else []


def _sentence(one: Point) -> str:
    if one.rival is None:
        return f"{one.run.name} has no time: its features were in the store, and no trial of its engine is recorded."
    select = one.run.result.comparison["select"]
    own = one.run.best["test"][select] - one.rival.best["test"][select]
    if one.difference is None:
        words, shown = "its difference has no interval", format_points(own, None)
    else:
        low, high = one.difference["ci95"]
        unsure = "no better" if own <= 0 else "perhaps better"
        words = {"behind": "worse", "ahead": "better"}.get(conclude((low, high), one.difference["p"]), unsure)
        zero = "excludes" if low > 0 or high < 0 else "includes"
        shown = format_points(own, (low, high), f"({{}} to {{}}, which {zero} 0)")
    begin = one.run.name if one.on_frontier else f"{one.run.name} is dominated: it"
    return f"{begin} is slower than {one.rival.name} and {words}: {shown} points of {SCORES[select]}."


def describe_points(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the points as `frontier.schema.json` describes them.

    Parameters
    ----------
    points : sequence of Point
    """
    return [
        {
            "name": one.run.name,
            "method": one.run.best["name"],
            "score": one.run.best["test"][select],
            "ci95": one.run.best["test"][f"{select}_ci95"],
            "seconds_per_image": one.seconds_per_image,
            "timed": one.timed,
            "on_frontier": one.on_frontier if one.seconds_per_image else None,
            "rival": one.rival.name if one.rival else None,
            "difference": one.difference["difference"] if one.difference else None,
            "difference_ci95": one.difference["ci95"] if one.difference else None,
        }
        for one in points
        for select in (one.run.result.comparison["select"],)
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Say what was not compared and why: candidates that failed, were dropped, or were not reached.

    Parameters
    ----------
    record : dict
        As `frontier.schema.json` describes it.

    Returns
    -------
    list of str
    """
    return list(_remarks(record))


def _remarks(record: dict[str, Any]) -> Iterator[str]:
    halving, score = record["halving"], SCORES[record["config"]["select"]]
    for number, one in enumerate(halving["rounds"] if halving else (), 1):
        ranked = sorted(one["candidates"], key=lambda own: -own["score"])
        shown = ", ".join(
            f"{own['name']} {own['score']:.3f} ({own['computed']:,} images computed, {format_seconds(own['seconds'])})"
            for own in ranked
        )
        dropped = f"dropped: {', '.join(one['dropped'])}" if one["dropped"] else "none dropped"
        yield (
            f"Round {number}, {Fraction(one['share'])} of the training and validation images ({one['images']:,}), "
            f"{score} of {halving['head']} on validation: {shown}; {dropped}."
        )
    if halving and halving["stopped"]:
        yield f"No more rounds: {halving['stopped']}."
    for one in record["candidates"]:
        if one["state"] in ("failed", "not reached"):
            yield f"{one['name']} {'failed' if one['state'] == 'failed' else 'was not reached'}: {one['reason']}."
    if halving:
        budget_s = record["config"]["time_budget_s"]
        yield f"{format_seconds(record['seconds'])} were used of the time budget of {format_seconds(budget_s)}."
