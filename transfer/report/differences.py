"""Differences between results whose test images are the same.

N: images.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.evaluation import results, statistics
from transfer.report.answers import Answers
from transfer.report.runs import Run
from transfer.report.same_images import group_runs
from transfer.report.verdict import sentences as describe_run
from transfer.report.wording import SCORES


@dataclass(frozen=True)
class Difference:
    """The best method of one run minus that of another one, on the same test images.

    Parameters
    ----------
    a, b : Run
    scores : dict of str to dict
        By score what `statistics.compare_pair` returns, and `p_holm`.
    n_images : int
    unit : {"image", "group"}
        What is taken as independent.
    """

    a: Run
    b: Run
    scores: dict[str, dict[str, Any]]
    n_images: int
    unit: str


def find_differences(runs: Sequence[Run], *, every: bool = False) -> list[Difference]:
    """Compare results that have predictions of the same test images.

    Among those the run that did best on its validation split is compared with each other one; each run is represented
    by its method that did best there. So the pairs are fixed before the test split is used, and p is adjusted for
    all of them.

    Parameters
    ----------
    runs : sequence of Run
    every : bool
        Whether every pair is compared, in the order of the runs.

    Returns
    -------
    list of Difference
    """
    select = runs[0].result.comparison["select"]
    pairs: list[tuple[Run, Run]] = []
    for group in group_runs([run for run in runs if run.answers]):
        best = max(group, key=lambda run: run.best["valid"][select])
        both = itertools.combinations(group, 2)
        pairs += both if every else [(best, run) for run in group if run is not best]
    compared = [compare_runs(a, b) for a, b in pairs]
    statistics.adjust_pairs(compared)
    return [
        Difference(
            a,
            b,
            {score: found[score] for score in SCORES},
            len(a.answers.labels) if a.answers else 0,
            found["independent"]["unit"],
        )
        for (a, b), found in zip(pairs, compared, strict=True)
    ]


def compare_runs(a: Run, b: Run) -> dict[str, Any]:
    """Compare the best methods of two runs that have predictions, as `statistics.compare_pair` does: `a` minus `b`."""
    assert a.answers, "only runs with answers are compared"
    assert b.answers, "only runs with answers are compared"
    order_a, order_b = (
        np.argsort(np.asarray(one.files, object), kind="stable") for one in (a.answers, b.answers)
    )
    labels = [a.answers.labels, a.answers.predicted[a.best["name"]], b.answers.predicted[b.best["name"]]]
    orders = [order_a, order_a, order_b]
    flat = np.concatenate([np.asarray(own, object)[order] for own, order in zip(labels, orders, strict=True)])
    classes, codes = np.unique(flat, return_inverse=True)
    y_N, a_N, b_N = codes.astype(np.int64).reshape(3, -1)
    groups_N = _groups([(a.answers, order_a), (b.answers, order_b)])
    return statistics.compare_pair(y_N, a_N, b_N, len(classes), groups_N=groups_N)


def _groups(answers: Sequence[tuple[Answers, npt.NDArray[np.intp]]]) -> npt.NDArray[np.object_] | None:
    """Return the groups of the images where a run has several of them; of two groupings the coarser one."""
    found = [np.asarray(own.groups, object)[order] for own, order in answers]
    several = [groups_N for groups_N in found if len(set(groups_N)) > 1]
    return min(several, key=lambda groups_N: len(set(groups_N)), default=None)


def conclude(runs: Sequence[Run], differences: Sequence[Difference]) -> list[str]:
    """Say in a sentence for each set of test images which runs the best one differs from.

    Parameters
    ----------
    runs : sequence of Run
    differences : sequence of Difference
        Between these, as `find_differences` returns them.

    Returns
    -------
    list of str
        The verdict of one run alone.
    """
    if len(runs) == 1:
        return describe_run(runs[0].result)
    select = runs[0].result.comparison["select"]
    found: dict[str, dict[str, list[str]]] = {}
    subjects = {}
    for one in differences:
        entry = one.scores[select]
        shown = results.conclude(entry["ci95"], entry["p_holm"])
        if shown == "undecided":
            shown = ("lead", "tie", "lag")[1 - int(np.sign(entry["difference"]))]
        found.setdefault(one.a.name, {}).setdefault(shown, []).append(label(one.b))
        subjects[one.a.name] = (
            f"{label(one.a)} is best on the validation split; on the same {one.n_images:,} test images"
        )
    words = {
        "ahead": "it is ahead of {}",
        "behind": "it is behind {}",
        "lead": "its lead over {} may be chance",
        "tie": "it equals {}",
        "lag": "that it is behind {} may be chance",
    }
    sentences = []
    for name, groups in found.items():
        said = [
            words.get(shown, f"it is the {shown} as {{}}").replace(
                "{}", f"{_join(others)} in {SCORES[select]}"
            )
            for shown, others in groups.items()
        ]
        sentences.append(f"{subjects[name]} {'; '.join(said)}.")
    return sentences


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def label(run: Run) -> str:
    """Return the name of a run with its best method."""
    return f"{run.name} ({run.best['name']})"
