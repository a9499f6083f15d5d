"""Solutions of the settings of a search: their scores on validation data, and their order by these.

M: rows predicted. N: rows scored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer import metrics
from transfer.config import SCORE_NAMES
from transfer.heads.grid import Setting
from transfer.system.errors import check_choice

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Solution:
    """A fitted setting.

    Settings with the same solution hold the same `model` object; a search may let settings share one only if all
    settings with larger values of its scales share it too.
    """

    setting: Setting
    model: Any
    fit_s: float
    """The setting's own seconds, without those that all settings share."""
    found: Setting = field(default_factory=dict)
    """Parameters determined by fitting, such as the number of steps."""
    complete: bool = True
    """Whether fitting was completed; others are rows of the results, but never chosen."""
    curve: dict[str, list[float | None]] = field(default_factory=dict)
    """What was reached on validation rows in the course of the fit, as lists of one length; empty if unknown."""


@dataclass
class ScoredSolution:
    """A solution, the settings that have it (the one with the smallest scales first), and its predictions."""

    solution: Solution
    settings: list[Setting]
    predicted_M: Array
    scores: dict[str, float]
    fit_s: float = 0.0

    def add(self, solution: Solution, scales: Sequence[str]) -> None:
        """Add the setting of a solution with the same model."""
        self.settings.append(solution.setting)
        self.settings.sort(key=lambda setting: [setting[axis] for axis in scales])
        self.fit_s += solution.fit_s

    def report(self, shared_s: float) -> dict[str, Any]:
        """Return the row of `cv_results_`, with `shared_s` seconds of what all settings share."""
        first, *others = (setting | self.solution.found for setting in self.settings)
        row = {"params": first, "same_as": others, **self.scores, "fit_s": self.fit_s + shared_s}
        return row | ({"curve": self.solution.curve} if self.solution.curve else {})


def validation_scores(y_N: Array, predicted_N: Array) -> dict[str, float]:
    """Return accuracy and macro F1 of predicted labels, over the classes that occur in either array.

    Parameters
    ----------
    y_N, predicted_N : (N,)
        True and predicted labels.

    Returns
    -------
    dict
        `accuracy` and `macro_f1`.
    """
    names, codes = np.unique(np.concatenate([y_N, predicted_N]), return_inverse=True)
    true_N, predicted_codes_N = np.split(codes.astype(np.int64), 2)
    return metrics.score(true_N, predicted_codes_N, len(names))


def ranking(rows: Sequence[dict[str, Any]], select: str) -> list[int]:
    """Sort rows by their scores and return their indices, the best first.

    Parameters
    ----------
    rows : sequence of dict
        Each with `accuracy` and `macro_f1`.
    select : {"macro_f1", "accuracy"}
        The score that decides; the other one breaks ties, then the order given.

    Returns
    -------
    list of int
    """
    check_choice("select", select, SCORE_NAMES)
    other = next(name for name in SCORE_NAMES if name != select)
    return sorted(range(len(rows)), key=lambda i: (-rows[i][select], -rows[i][other], i))


def curve_columns(curve: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Return the points of a learning curve as a list for each of their values; None where one is not finite."""
    names = curve[0] if curve else ()
    return {name: [point[name] if math.isfinite(point[name]) else None for point in curve] for name in names}
