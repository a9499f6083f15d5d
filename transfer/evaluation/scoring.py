"""What a fitted method reaches: its entry of the result.

N: images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.evaluation import calibration, statistics
from transfer.evaluation.fitting import FittedSearch
from transfer.evaluation.network_methods import describe_method
from transfer.features.extract import Features
from transfer.heads.calibration import Calibration
from transfer.system.timer import Stopwatch


def score_method(name: str, fitted: FittedSearch, features: Features, watch: Stopwatch) -> dict[str, Any]:
    """Score a fitted method, and calibrate its probabilities.

    Parameters
    ----------
    name : str
    fitted : FittedSearch
        Its `calibration` is set.
    features : Features
    watch : Stopwatch
        Gets the phases `score` and `probabilities`.

    Returns
    -------
    dict
        Its entry of the result.
    """
    classes, search, (kind, summary) = features.classes, fitted.search, describe_method(name)
    if fitted.splits:
        features = replace(features, splits=dict(fitted.splits), exact=None, coarse=None)

    def score(split: str, predicted_N: npt.NDArray[np.int64]) -> dict[str, Any]:
        return statistics.score(
            features.splits[split].y_N, predicted_N, classes, groups_N=features.groups(split)
        )

    def overall(split: str, predicted_N: npt.NDArray[np.int64]) -> dict[str, Any]:
        y_N, groups_N = features.splits[split].y_N, features.groups(split)
        return statistics.score_overall(y_N, predicted_N, len(classes), groups_N=groups_N)

    with watch("score"):
        sweep = [
            {**row, "valid": overall("valid", on_valid_N), "test": overall("test", on_test_N)}
            for row, on_valid_N, on_test_N in zip(
                search.cv_results_,
                search.valid_predictions_,
                search.predict_each(features.splits["test"].x_ND),
                strict=True,
            )
        ]
    with watch("probabilities"):
        head, valid = search.best_estimator_, features.splits["valid"]
        fitted.calibration = Calibration.fit(head, valid.x_ND, valid.y_N)
        test = features.splits["test"]
        answers = fitted.answer("test", test.x_ND)
        calibrated = calibration.describe(fitted.calibration, head, test, *answers)
    for row in sweep:  # they are in `valid`
        del row["accuracy"], row["macro_f1"]
    return {
        "name": name,
        "kind": kind,
        "summary": summary,
        "best_params": search.best_params_,
        "sweep": sweep,
        "extended": search.extended_,
        "at_edge": search.at_edge_,
        "valid": score("valid", search.valid_predictions_[search.best_index_]),
        "test": score("test", fitted.predicted_N),
        "calibration": calibrated,
        "fit_s": fitted.fit_s,
        "fit_seconds": fitted.fit_seconds,
        "predict_s": fitted.predict_s,
        "predict_seconds": fitted.predict_seconds,
        "int8_against_fp32": None
        if features.exact is None or features.coarse is None
        else statistics.measure_change(
            features.exact.y_N, search.predict(features.exact.x_ND), search.predict(features.coarse.x_ND)
        ),
    }
