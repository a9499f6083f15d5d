from __future__ import annotations

from typing import Any

import pytest

from tests.report.html.conftest import Make
from transfer.report.html.advice import advise


def set_rates(method: dict[str, Any], tried: list[float], best: float) -> None:
    method["at_edge"] = ["lr"]
    method["best_params"] = {"lr": best}
    method["sweep"] = [{"params": {"lr": lr}} for lr in tried]


@pytest.mark.parametrize(
    ("tried", "best", "option"),
    [
        ([1e-3, 1e-2], 1e-2, "--lr 0.001,0.01,0.1"),
        ([1e-3, 1e-2], 1e-3, "--lr 0.0001,0.001,0.01"),
        ([0.1, 1.0], 1.0, None),  # 10 is refused
    ],
)
def test_rates_at_the_end_of_a_range_are_tried_beyond_it(
    make: Make, tried: list[float], best: float, option: str | None
) -> None:
    result, _ = make(["a", "b"], [5, 5])
    set_rates(result.method("fc-lab"), tried, best)
    assert [option for reason, option in advise(result) if reason.startswith("fc-lab chose")] == [option]


def test_rates_of_blocks_have_an_option_of_their_own(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    method = result.method("fc-lab")
    method["name"] = "unfreeze:layer4"
    set_rates(method, [1e-4, 1e-3, 1e-2], 1e-2)
    assert "--lr-blocks 0.0001,0.001,0.01,0.1" in [option for _, option in advise(result)]


def test_labels_wanted_come_with_the_command_that_shows_what_they_give(make: Make) -> None:
    result, _ = make(["a", "b"], [5, 5])
    for row in result.method("svm")["test"]["per_class"]:
        row["recall"] = 0.2
    assert "transfer curve" in [
        option for reason, option in advise(result) if reason.startswith("Label more")
    ]
