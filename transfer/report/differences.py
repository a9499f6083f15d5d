"""Differences between results whose test images are the same.

N: images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.evaluation import statistics
from transfer.report.html.pictures import Answers
from transfer.report.runs import OLD_VERSION, Run
from transfer.report.wording import SCORES

# How the images of two results relate.
SAME, SPLIT, OTHER, UNKNOWN = "same", "split", "other", "unknown"


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


def find_differences(runs: Sequence[Run]) -> list[Difference]:
    """Compare results that have predictions of the same test images.

    Among those the run that did best on its validation split is compared with each other one; each run is represented
    by its method that did best there. So the pairs are fixed before the test split is used, and p is adjusted for
    all of them.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    list of Difference
    """
    select = runs[0].result.comparison["select"]
    pairs: list[tuple[Run, Run]] = []
    for group in group_runs([run for run in runs if run.answers]):
        best = max(group, key=lambda run: run.best["valid"][select])
        pairs += [(best, run) for run in group if run is not best]
    compared = [_compare(a, b) for a, b in pairs]
    for score in SCORES:
        adjusted = statistics.adjust_holm([found[score]["p"] for found in compared]) if compared else []
        for found, p in zip(compared, adjusted, strict=True):
            found[score]["p_holm"] = p
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


def _compare(a: Run, b: Run) -> dict[str, Any]:
    assert a.answers, "only runs with answers are compared"
    assert b.answers, "only runs with answers are compared"
    order_a, order_b = (
        np.argsort(np.asarray(one.files, object), kind="stable") for one in (a.answers, b.answers)
    )
    labels = [a.answers.labels, a.answers.said[a.best["name"]], b.answers.said[b.best["name"]]]
    orders = [order_a, order_a, order_b]
    flat = np.concatenate([np.asarray(own, object)[order] for own, order in zip(labels, orders, strict=True)])
    classes, codes = np.unique(flat, return_inverse=True)
    y_N, a_N, b_N = codes.astype(np.int64).reshape(3, -1)
    groups_N = _groups([(a.answers, order_a), (b.answers, order_b)])
    return statistics.compare_pair(y_N, a_N, b_N, len(classes), groups_N=groups_N)


def _groups(answers: Sequence[tuple[Answers, npt.NDArray[np.intp]]]) -> npt.NDArray[np.object_] | None:
    """Return the groups of the images in which fewer are independent, where one of the runs has any."""
    found = [np.asarray(own.groups, object)[order] for own, order in answers if any(own.groups)]
    return min(found, key=lambda groups_N: len(set(groups_N)), default=None)


def group_runs(runs: Sequence[Run]) -> list[list[Run]]:
    """Put runs together whose test images are the same."""
    groups: list[list[Run]] = []
    for run in runs:
        own = next((group for group in groups if relate(group[0], run) == SAME), None)
        if own is None:
            groups.append([run])
        else:
            own.append(run)
    return groups


def relate(a: Run, b: Run) -> str:
    """Return whether the test images of two runs are the same, a different part of the same images, or others.

    Predictions tell by names and labels of the test images, the fingerprint of the data by all images and their
    contents. A different split is recognised by the number of images of each class in all splits together.

    Parameters
    ----------
    a, b : Run

    Returns
    -------
    {"same", "split", "other", "unknown"}
    """
    if a.answers and b.answers:
        same = _test_images(a.answers) == _test_images(b.answers)
    else:
        prints = [run.result.data.get("fingerprint") for run in (a, b)]
        splits = [run.result.data["splits"] for run in (a, b)]
        if None in prints and splits[0] == splits[1] and _totals(a) == _totals(b):
            return UNKNOWN
        same = None not in prints and prints[0] == prints[1]
    if same:
        return SAME
    return SPLIT if _totals(a) == _totals(b) else OTHER


def _test_images(answers: Answers) -> list[tuple[str, str]]:
    return sorted(zip(answers.files, answers.labels, strict=True))


def _totals(run: Run) -> dict[str, int]:
    """Return the number of images of each class in all splits."""
    data = run.result.data
    counts = zip(*(part["per_class"] for part in data["splits"].values()), strict=True)
    return dict(zip(data["classes"], map(sum, counts), strict=True))


def conclude(differences: Sequence[Difference], select: str) -> list[str]:
    """Say in a sentence for each set of test images which runs the best one differs from.

    Parameters
    ----------
    differences : sequence of Difference
    select : {"macro_f1", "accuracy"}

    Returns
    -------
    list of str
    """
    found: dict[str, dict[str, list[str]]] = {}
    subjects = {}
    for one in differences:
        entry = one.scores[select]
        shown = statistics.conclude(entry["ci95"], entry["p_holm"])
        found.setdefault(one.a.name, {}).setdefault(shown, []).append(label(one.b))
        subjects[one.a.name] = (
            f"On the same {one.n_images:,} test images {label(one.a)}, the best on validation,"
        )
    words = {
        "ahead": "is ahead of {}",
        "behind": "is behind {}",
        "undecided": "may differ from {} by chance alone",
    }
    sentences = []
    for name, groups in found.items():
        said = [
            words.get(shown, f"is the {shown} as {{}}").replace("{}", " and ".join(others))
            for shown, others in groups.items()
        ]
        sentences.append(f"{subjects[name]} {'; it '.join(said)} in {SCORES[select]}.")
    return sentences


def label(run: Run) -> str:
    """Return the name of a run with its best method."""
    return f"{run.name} ({run.best['name']})"


def notes(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know before scores of different runs are compared, a line each.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    list of str
    """
    first, found = runs[0], []
    related = {
        kind: [run.name for run in runs[1:] if relate(first, run) == kind] for kind in (SPLIT, OTHER, UNKNOWN)
    }
    if names := related[SPLIT]:
        found.append(
            f"{_join(names)}: as many images of each class as {first.name}, in another split: the test images are "
            f"others, so there is no difference to {first.name}"
        )
    if names := related[OTHER]:
        found.append(
            f"{_join(names)}: other images than {first.name}, so their scores do not compare with its"
        )
    if names := related[UNKNOWN]:
        found.append(
            f"{_join(names)}: nothing tells whether the images are those of {first.name}; scores may not compare"
        )
    for group in group_runs([run for run in runs if run.answers]):
        prints = {run.result.data.get("fingerprint") for run in group} - {None}
        if len(prints) > 1:
            found.append(
                f"{_join([run.name for run in group])}: the test images have the same names and labels, but training "
                "images, validation images or contents of files differ"
            )
    missing = [
        run.name
        for run in runs
        if not (run.answers or run.fault)
        and any(relate(run, other) in (SAME, UNKNOWN) for other in runs if other is not run)
    ]
    if missing:
        found.append(
            f"{_join(missing)}: no predictions.csv beside the result, so no difference has an interval"
        )
    found += [f"{run.name}: {run.fault}; no difference has an interval" for run in runs if run.fault]
    old = [run.name for run in runs if run.result.schema_version == OLD_VERSION]
    if old:
        found.append(
            f"{_join(old)}: old protocol (result files of version {OLD_VERSION}), whose grids and training were others"
        )
    return found


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)
