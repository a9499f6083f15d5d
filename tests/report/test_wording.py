from __future__ import annotations

import pytest

from transfer.report.wording import format_params, format_score, format_setting


def test_an_approximated_kernel_has_a_label_of_its_own() -> None:
    exact = {"kernel": "rbf", "gamma": "scale", "class_weight": None, "C": 10}
    assert format_params(exact) == "rbf, C 10"
    approximated = exact | {"n_landmarks": 1000}
    assert format_params(approximated) == "rbf by Nyström, C 10, m 1000"
    assert format_setting({"params": approximated, "same_as": []}) == "rbf by Nyström, C 10, m 1000"
    linear = {"kernel": "linear", "C": 0.1}
    assert format_params(linear) == "linear, C 0.1"


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.85, 0.8112, 0.8891, "0.850 (.81-.89)"),
        (0.992, 0.9885, 0.9949, "0.992 (.989-.995)"),
        (0.998, 0.9955, 0.9991, "0.998 (.996-.999)"),
        (1.0, 0.94, 1.0, "1.000 (.94-1.0)"),
        (0.0, 0.0, 0.0004, "0.000 (.00-.00)"),
    ],
)
def test_a_printed_interval_holds_the_printed_score(
    value: float, low: float, high: float, shown: str
) -> None:
    assert format_score({"accuracy": value, "accuracy_ci95": [low, high]}, "accuracy") == shown
