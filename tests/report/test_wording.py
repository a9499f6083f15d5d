from __future__ import annotations

from transfer.report.wording import format_params, format_setting


def test_an_approximated_kernel_has_a_label_of_its_own() -> None:
    exact = {"kernel": "rbf", "gamma": "scale", "class_weight": None, "C": 10}
    assert format_params(exact) == "rbf, C 10"
    approximated = exact | {"n_landmarks": 1000}
    assert format_params(approximated) == "rbf by Nyström, C 10, m 1000"
    assert format_setting({"params": approximated, "same_as": []}) == "rbf by Nyström, C 10, m 1000"
    linear = {"kernel": "linear", "C": 0.1}
    assert format_params(linear) == "linear, C 0.1"
