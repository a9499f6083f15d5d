"""How far the probabilities of a method can be trusted, as the result file holds it.

N: images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.heads.calibration import Calibration
from transfer.metrics import calibration_error

# Confidences for which the result says how many images reach them and how many of these are right.
CONFIDENCES = (0.8, 0.9, 0.95)


def describe(
    calibration: Calibration,
    head: Any,
    test: Any,
    labels_N: npt.NDArray[np.int64],
    confidence_N: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """Return the calibration error of a head on test images, and what confidences came to.

    Parameters
    ----------
    calibration : Calibration
        Fitted on the validation images.
    head : classifier
    test : Split
        Features and labels of the test images.
    labels_N, confidence_N : (N,)
        What the calibrated head predicts for them, and how sure of each it is.

    Returns
    -------
    dict
        `temperature` and `offset`; `error` and `error_before`, the expected calibration error with them and without,
        the latter None for heads that have no probabilities of their own; `confident`, a list of
        `{min_confidence, valid {images, right}, test {images, right}}`.
    """
    right_N = labels_N == test.y_N
    confident = []
    for least in CONFIDENCES:
        counts = calibration.count_confident(least)
        reach_N = confidence_N >= least
        confident.append(
            {
                "min_confidence": least,
                "valid": {"images": counts.confident, "right": counts.right},
                "test": {"images": int(reach_N.sum()), "right": int(right_N[reach_N].sum())},
            }
        )
    before = None
    if hasattr(head, "predict_proba"):
        before = calibration_error(head.predict_proba(test.x_ND).max(1), right_N)
    return {
        "temperature": calibration.temperature,
        "offset": calibration.offset,
        "error": calibration_error(confidence_N, right_N),
        "error_before": before,
        "confident": confident,
    }
