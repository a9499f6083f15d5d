"""The ladder: from the lab's fine-tuning to the best method, one change at a time.

N: images.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from transfer import metrics
from transfer.config import SCORE_NAMES, UNCACHED, RunConfig
from transfer.data.random_splits import SPLITS
from transfer.evaluation import statistics
from transfer.evaluation.fitting import FittedSearch, rest
from transfer.evaluation.network_methods import family_of
from transfer.heads.registry import METHODS
from transfer.system.progress import Progress
from transfer.system.text import first_line
from transfer.system.timer import Stopwatch

FIRST = "fc-lab"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A change, and the search that includes it and all changes before it."""

    name: str
    search: Any
    method: str | None = None
    """The method, if the search is one."""


def steps(config: RunConfig, best: str) -> Iterator[Step]:
    """Yield the changes that lead from `fc-lab` to a method.

    The SVM differs from the last layer by its loss (hinge), then by its kernel (RBF); any other method is one last
    step.

    Parameters
    ----------
    config : RunConfig
    best : str
        The method.

    Yields
    ------
    Step
    """

    def method(name: str, step: str) -> Step:
        return Step(step, METHODS[name].build(config), name)

    yield method(FIRST, "fc-lab")
    if best == FIRST:
        return
    if best == UNCACHED:  # one change, and none of those below
        yield Step(family_of(best).step, None, best)
        return
    lab, fc = METHODS[FIRST].build(config), METHODS["fc"].build(config)
    yield Step("standardise", clone(lab).set_params(standardize=True))
    plain = clone(fc).set_params(weight_decay=(0.0,), class_weight=(None,))
    yield Step("train out", plain)
    balances = len(fc.get_params()["class_weight"]) > 1
    if balances:
        yield Step("weight decay", clone(fc).set_params(class_weight=(None,)))
    yield method("fc", "balance (fc)" if balances else "weight decay (fc)")
    if best not in METHODS:
        yield Step(family_of(best).step, None, best)  # fitted, or it would not be the best
    elif best == "svm":
        linear = METHODS["svm"].build(config).set_params(kernels=("linear",))
        yield Step("hinge loss", linear)
        yield method("svm", "RBF (svm)")
    elif best != "fc":
        yield method(best, f"{METHODS[best].kind}")


def climb(
    config: RunConfig,
    best: str,
    splits: Mapping[str, Any],
    fitted: Mapping[str, FittedSearch],
    n_classes: int,
    watch: Stopwatch,
    groups_N: npt.NDArray[np.integer] | None,
    on_progress: Progress,
) -> list[dict[str, Any]]:
    """Fit and score every step.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    best : str
        The method that the steps lead to.
    splits : mapping of str to Split
        Features and labels of `train`, `valid` and `test`.
    fitted : mapping of str to FittedSearch
        Methods that were fitted already; they are not fitted again.
    n_classes : int
        Number of classes of the image set.
    watch : Stopwatch
        Phase `ladder` gets the fits that are made here.
    groups_N : ndarray of int, optional
        Groups of the test images.
    on_progress : Progress
        Called in the phase `ladder` with each step.

    Returns
    -------
    list of dict
        `comparison.ladder` of the result: scores, fit times, and the change against the step before.
    """
    train, valid, test = (splits[name] for name in SPLITS)
    rungs: list[dict[str, Any]] = []
    before_N = None
    climbed = list(steps(config, best))
    for i, step in enumerate(climbed):
        on_progress("ladder", i, len(climbed), step.name)
        if step.method and step.method in fitted:
            predicted_N, fit_s = fitted[step.method].predicted_N, fitted[step.method].fit_s
        else:
            rest()
            try:
                with watch("ladder"):
                    search = step.search.fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
                predicted_N, fit_s = search.predict(test.x_ND), watch.last("ladder")
            except Exception as error:  # memory, a library: it costs this step alone
                log.warning("the step %r is left out: %s", step.name, first_line(error))
                continue
        rung: dict[str, Any] = {
            "step": step.name,
            **metrics.score(test.y_N, predicted_N, n_classes),
            "fit_s": fit_s,
            "change": None,
        }
        if before_N is not None:
            pair = statistics.compare_pair(
                test.y_N, predicted_N, before_N, n_classes, groups_N=groups_N, seed=config.seed
            )
            rung["change"] = {score: pair[score] for score in SCORE_NAMES}
        rungs.append(rung)
        before_N = predicted_N
    on_progress("ladder", len(climbed), len(climbed))
    return rungs
