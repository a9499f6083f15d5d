"""The comparison repeated on other splits of the same images, from the same features.

N: images. D: features an image. R: splits.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from transfer import metrics
from transfer.config import SCORE_NAMES
from transfer.evaluation import statistics
from transfer.heads.transforms import FeatureTransform
from transfer.system.progress import Progress, silent
from transfer.system.text import first_line

Indices = npt.NDArray[np.intp]
Split = tuple[Indices, Indices, Indices]
"""Rows of training, validation and test images."""
STRATIFIED, GROUPS = "stratified", "groups"
# Repeats where the image set brings no test split; with more classes the searches take too long to do so unasked.
DRAWN_REPEATS, MOST_CLASSES = 10, 300

log = logging.getLogger(__name__)


class NotRepeated(Exception):
    """Nothing could be fitted on other splits; the message says why."""


class OnFit(Protocol):
    """Called with the number of splits that are done, a part of one included, and with what is being done."""

    def __call__(self, done: float, detail: str = "", /) -> None:
        """Take what is reported."""


Scorer = Callable[[OnFit], dict[str, list[Any]]]
"""Fits a method on every split, and returns what `score_splits` does."""


def default_count(*, test_is_drawn: bool, n_classes: int) -> int:
    """Return the default number of repeats: 10, or 0 if the folder has a test split or more than 300 classes."""
    return DRAWN_REPEATS if test_is_drawn and n_classes <= MOST_CLASSES else 0


def repeat(
    unfitted: Mapping[str, Any],
    x_ND: npt.NDArray[np.float32],
    y_N: npt.NDArray[np.int64],
    splits: Sequence[Split],
    n_classes: int,
    *,
    scheme: str,
    names: Sequence[str] = (),
    transform: Sequence[str] = (),
    others: Mapping[str, Scorer] | None = None,
    fit_s: Mapping[str, float] | None = None,
    on_progress: Progress = silent,
) -> dict[str, Any]:
    """Fit every search on every split, choice of settings included, and compare the methods over the splits.

    Parameters
    ----------
    unfitted : mapping of str to GridSearch
        Searches by method.
    x_ND, y_N : ndarray
        Features and class indices of all images.
    splits : sequence of (train, valid, test)
        Row indices of each split.
    n_classes : int
        Number of classes of the image set; a split's test images may lack some.
    scheme : {"stratified", "groups"}
        How the splits were drawn: at random within classes (and by whole groups if there are any), or leaving
        out one group after the other.
    names : sequence of str
        Name of each split: with `groups` the group that is left out.
    transform : sequence of str
        Steps of `FeatureTransform`, fitted to the training rows of each split.
    others : mapping of str to callable, optional
        Methods that fit more than a search of features, after the searches.
    fit_s : mapping of str to float, optional
        Seconds that each method took on another split, from which the time left is estimated: within some 40 % on two
        cores, where other fits at the same time and single threads change what a fit takes.
    on_progress : Progress
        Called in the phase `repeat`, whose parts are the fits of every method on every split.

    Returns
    -------
    dict
        `comparison.repeats` of the result: `n`, `scheme`, `names`, `test_share`, `test_images`, `untrained` (how many
        test images are of classes without training images), `methods` with one score for every split, `left_out`
        (methods that failed on one, and why), and `pairs` with the mean difference, its 95 % interval and the splits
        won.

    Raises
    ------
    NotRepeated
        Where no transform, or no method, can be fitted.
    """
    names_M = [*unfitted, *(others or {})]
    if transform:
        on_progress("repeat", 0, len(names_M) * len(splits), "transform")
    try:
        x_ND, transforms = fit_transforms(transform, x_ND, splits)
    except Exception as error:  # memory, a library: it costs the repeats alone
        raise NotRepeated(f"transform: {first_line(error)}") from error
    scorers: dict[str, Scorer] = {
        name: partial(score_splits, search, x_ND, y_N, splits, n_classes, transforms=transforms)
        for name, search in unfitted.items()
    }
    cost_s = [(fit_s or {}).get(name, np.nan) for name in names_M]
    methods, left_out = _score_methods(scorers | dict(others or {}), len(splits), cost_s, on_progress)
    if not methods:
        raise NotRepeated("; ".join(f"{name}: {reason}" for name, reason in left_out.items()))
    test_share, train_share = (
        float(np.mean([len(split[side]) for split in splits])) / len(y_N) for side in (2, 0)
    )

    def compare(a: dict[str, Any], b: dict[str, Any], score: str) -> dict[str, Any]:
        differences_R = np.subtract(a[score], b[score])
        if scheme == GROUPS:
            return statistics.compare_groups(differences_R)
        return statistics.compare_splits(differences_R, test_share, train_share)

    return {
        "n": len(splits),
        "scheme": scheme,
        "names": list(names),
        "test_share": test_share,
        "test_images": [len(test) for _, _, test in splits],
        "untrained": [int((~np.isin(y_N[test], y_N[train])).sum()) for train, _, test in splits],
        "methods": methods,
        "left_out": left_out,
        "pairs": [
            {"a": a["name"], "b": b["name"], **{score: compare(a, b, score) for score in SCORE_NAMES}}
            for a, b in itertools.combinations(methods, 2)
        ],
    }


def _score_methods(
    scorers: Mapping[str, Scorer], n_splits: int, cost_s: Sequence[float], on_progress: Progress
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Score methods, which take so many seconds each; return their entries, and why others have none."""
    methods, left_out = list[dict[str, Any]](), dict[str, str]()
    total, whole_s = len(scorers) * n_splits, sum(cost_s)
    for i, (name, score) in enumerate(scorers.items()):

        def on_fit(done: float, detail: str = "", /, i: int = i, name: str = name) -> None:
            if done == n_splits:  # the next method's first call says so
                return
            part = f"{name}, split {int(done) + 1} of {n_splits}{detail and ', '}{detail}"
            share = (sum(cost_s[:i]) + cost_s[i] * done / n_splits) / whole_s
            on_progress(
                "repeat", i * n_splits + int(done), total, part, "", None if math.isnan(whole_s) else share
            )

        on_fit(0)
        try:
            methods.append({"name": name, **score(on_fit)})
        except Exception as error:  # memory, a library: it costs this method alone
            left_out[name] = first_line(error)
            log.warning("%s is left out of the repeated splits: %s", name, left_out[name])
    on_progress("repeat", total, total)
    return methods, left_out


def fit_transforms(
    steps: Sequence[str], x_ND: npt.NDArray[np.float32], splits: Sequence[Split]
) -> tuple[npt.NDArray[np.float32], list[FeatureTransform]]:
    """Transform all rows at once where that depends on no other rows; else fit a transform to each split.

    A split with fewer training rows than a step has components gets those that its rows have.

    Parameters
    ----------
    steps : sequence of str
    x_ND : ndarray
        Features of all images.
    splits : sequence of (train, valid, test)

    Returns
    -------
    x_ND : ndarray
        As far as they are transformed.
    transforms : list of FeatureTransform
        One for each split, or none.
    """
    transform = FeatureTransform(steps=steps)
    if transform.learns:
        return x_ND, [clone(transform).fit(x_ND[train], fewer=True) for train, _, _ in splits]
    return (transform.fit_transform(x_ND) if steps else x_ND), []


def score_splits(
    search: Any,
    x_ND: npt.NDArray[np.float32],
    y_N: npt.NDArray[np.int64],
    splits: Sequence[Split],
    n_classes: int,
    on_fit: Callable[[int], None] = lambda done: None,
    transforms: Sequence[FeatureTransform] = (),
) -> dict[str, Any]:
    """Fit a search to every split, choice of settings included, and score it on the split's test images.

    Parameters
    ----------
    search : GridSearch
    x_ND, y_N : ndarray
        Features and class indices of all images.
    splits : sequence of (train, valid, test)
        Row indices of each split.
    n_classes : int
    on_fit : callable
        As `GridSearch.fit_splits` takes it.
    transforms : sequence of FeatureTransform
        One for each split, fitted: their rows then have nothing in common, and splits are fitted one after the other.

    Returns
    -------
    dict
        `accuracy`, `macro_f1` and `best_params`, lists with one entry for each split.
    """
    if transforms:
        found = []
        for i, (parts, transform) in enumerate(zip(splits, transforms, strict=True)):
            rows = np.concatenate(parts)
            own = np.split(np.arange(len(rows)), np.cumsum([len(part) for part in parts])[:2])
            x_MK = transform.transform(x_ND[rows])
            found.append(score_splits(search, x_MK, y_N[rows], [(own[0], own[1], own[2])], n_classes))
            on_fit(i + 1)
        return {key: [value for one in found for value in one[key]] for key in found[0]}

    def score(i: int, fitted: Any) -> dict[str, Any]:
        test = splits[i][2]
        scores = metrics.score(y_N[test], fitted.predict(x_ND[test]), n_classes)
        return {**scores, "best_params": fitted.best_params_}

    pairs = [(train, valid) for train, valid, _ in splits]
    scored = search.fit_splits(x_ND, y_N, pairs, score, on_fit)  # searches of many rows are not kept
    return {key: [one[key] for one in scored] for key in (*SCORE_NAMES, "best_params")}
