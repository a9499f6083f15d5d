"""Searches fitted and timed in rounds, and transforms of features fitted before them.

N: images. D: features an image.
"""

from __future__ import annotations

import gc
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from transfer.data.random_splits import SPLITS
from transfer.features.extract import Features
from transfer.heads.calibration import Calibration
from transfer.heads.transforms import FeatureTransform, Step
from transfer.system.errors import UserError
from transfer.system.progress import Progress, silent
from transfer.system.row_storage import is_mapped
from transfer.system.text import first_line
from transfer.system.timer import Stopwatch

# A search whose fit and prediction take longer is timed once; a shorter one is timed again until its times agree, at
# most so often and until all of them have taken so long.
TIMED_ONCE_S, MAX_ROUNDS, MIN_ROUNDS, TIMED_S = 0.5, 7, 3, 1.0
# Times agree when the middle half of them lies within this part of their median.
AGREEMENT = 0.1
# OpenMP's threads may spin for some milliseconds after a product; at rest they take no core from the next search. BLAS
# has no threads here (`limited_threads`): its own spin longer.
REST_S = 0.01

log = logging.getLogger(__name__)


class LeftOut:
    """Methods that failed, and why: each is reported and does not affect the others.

    Parameters
    ----------
    alone : bool
        Whether there is one method; its error is then raised.
    """

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self.reasons: dict[str, str] = {}

    def __call__(self, name: str, error: Exception) -> None:
        """Leave a method out."""
        if self._alone:
            raise error
        self.reasons[name] = first_line(error)
        log.warning("%s is left out: %s", name, self.reasons[name])


@dataclass(kw_only=True)
class FittedSearch:
    """A fitted search, its predictions for the test split, and the seconds of every fit and prediction."""

    search: Any
    predicted_N: npt.NDArray[np.int64]
    fit_seconds: list[float] = field(default_factory=list)
    predict_seconds: list[float] = field(default_factory=list)
    calibration: Calibration | None = None
    """Of the chosen setting, fitted on the validation images once times are known."""
    splits: Mapping[str, Any] | None = None
    """Features and labels by split, where a method has features of its own."""
    _answers: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = field(default_factory=dict)

    def answer(
        self, split: str, x_ND: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return labels (N,) of the images of a split, and how sure of each the method is (N,); kept once computed."""
        assert self.calibration
        if split not in self._answers:
            x_ND = self.splits[split].x_ND if self.splits else x_ND
            self._answers[split] = self.calibration.predict(self.search.best_estimator_, x_ND)
        return self._answers[split]

    @property
    def fit_s(self) -> float:
        """Median over all fits; the first is included, because a user waits for it."""
        return statistics.median(self.fit_seconds)

    @property
    def predict_s(self) -> float:
        """Median over all predictions of the test split."""
        return statistics.median(self.predict_seconds)

    @property
    def settled(self) -> bool:
        """Whether the times agree so well that more fits are not needed."""
        if self.fit_seconds[0] + self.predict_seconds[0] > TIMED_ONCE_S:
            return True
        if len(self.fit_seconds) >= MAX_ROUNDS or sum(self.fit_seconds + self.predict_seconds) > TIMED_S:
            return True
        if len(self.fit_seconds) < MIN_ROUNDS:
            return False
        low, high = np.quantile(self.fit_seconds, (0.25, 0.75))
        return bool(high - low <= AGREEMENT * self.fit_s)


def fit_in_turn(
    unfitted: Mapping[str, Any],
    splits: Mapping[str, Any],
    watch: Stopwatch,
    on_error: Callable[[str, Exception], None],
    on_progress: Progress = silent,
) -> dict[str, FittedSearch]:
    """Fit every search once, then fit the short ones again, one after the other, until their times are known.

    Searches take turns, so that other load on the machine affects all of them; a pause before each lets the threads of
    the one before go to sleep.

    Parameters
    ----------
    unfitted : mapping of str to GridSearch
        Searches by method; they are cloned, not changed.
    splits : mapping of str to Split
        Features and labels of `train`, `valid` and `test`.
    watch : Stopwatch
        Phases `fit` and `predict` get every time, in order.
    on_error : callable
        Called with the method and the error of a search that can't be fitted to these images, or can't predict; if
        it returns, the method is left out.
    on_progress : Progress
        Called in the phase `fit` for the first fits, and in `fit again` for each further round.

    Returns
    -------
    dict of str to FittedSearch
        By method, in the order of `unfitted`.
    """
    train, valid, test = (splits[name] for name in SPLITS)
    fitted: dict[str, FittedSearch] = {}

    def time_once(name: str) -> None:
        rest()
        with watch("fit"):
            search = clone(unfitted[name]).fit(train.x_ND, train.y_N, valid.x_ND, valid.y_N)
        with watch("predict"):
            predicted_N = search.predict(test.x_ND)
        entry = fitted.setdefault(name, FittedSearch(search=search, predicted_N=predicted_N))
        entry.fit_seconds.append(watch.last("fit"))
        entry.predict_seconds.append(watch.last("predict"))

    phase, waiting = "fit", list(unfitted)
    while waiting:
        for i, name in enumerate(waiting):
            on_progress(phase, i, len(waiting), name)
            try:
                time_once(name)
            except Exception as error:  # memory, a library: it costs this method alone
                on_error(name, error)
                fitted.pop(name, None)
        on_progress(phase, len(waiting), len(waiting))
        phase, waiting = "fit again", [name for name, entry in fitted.items() if not entry.settled]
    return fitted


@contextmanager
def older_objects_kept() -> Iterator[None]:
    """Leave the objects that exist to collections after the block.

    Libraries make so many that a collection, one before every fit, takes longer than a short fit with them.
    """
    if gc.get_freeze_count():  # done by the caller
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def rest() -> None:
    """Collect garbage and let spinning threads go to sleep before something is timed."""
    gc.collect()
    time.sleep(REST_S)


def check_in_memory(x_ND: Any) -> None:
    """Raise `UserError` for features on disk, which no transform takes."""
    if is_mapped(x_ND):
        raise UserError("`transform` is computed in memory, and these features are on disk; leave it out")


def transform_features(features: Features, names: tuple[str, ...]) -> tuple[Features, tuple[Step, ...]]:
    """Fit transforms to the training rows, and transform the rows of all splits.

    Parameters
    ----------
    features : Features
    names : tuple of str
        What the transforms are, in their order.

    Returns
    -------
    features : Features
    steps : tuple of Step
        The transforms with what was fitted.

    Raises
    ------
    UserError
        If the features are on disk: transformed rows are held in memory.
    """
    x_ND = features.splits["train"].x_ND
    check_in_memory(x_ND)
    transform = FeatureTransform(steps=names).fit(x_ND)
    return features.transformed(transform.transform), tuple(transform.steps_)
