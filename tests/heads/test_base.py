from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from transfer.heads.base import GridSearch
from transfer.heads.solutions import Solution

Array = np.ndarray


class ThresholdSearch(GridSearch):
    """Rows of one feature, of class 1 from a threshold up; `saturated` thresholds are one."""

    AXES: ClassVar = {"threshold": "threshold"}
    SCALES = ("threshold",)

    def __init__(
        self,
        *,
        threshold: Sequence[float] = (1, 10, 100),
        saturated: float = np.inf,
        select: str = "accuracy",
        extend: bool = True,
    ) -> None:
        self.threshold = threshold
        self.saturated = saturated
        self.select = select
        self.extend = extend

    def _prepare(self, X: Array, codes_N: Array) -> dict[float, list[float]]:
        return {}

    def _solve(self, rows: Any, settings: Any, valid: Any) -> list[Solution]:
        values = [min(setting["threshold"], self.saturated) for setting in settings]
        models = [rows.setdefault(value, [value]) for value in values]
        return [Solution(setting, model, 1.0) for setting, model in zip(settings, models, strict=True)]

    def _predict(self, rows: Any, models: Any, X: Array) -> Array:
        return np.stack([(X[:, 0] >= model[0]).astype(int) for model in models])

    def _make(self, rows: Any, params: Any, model: Any) -> Any:
        return type("Threshold", (), {"value": model[0]})()


def fit(optimum: float, **settings: Any) -> ThresholdSearch:
    """A search on rows whose classes change at `optimum`, one row a tenth of a decade."""
    x = np.logspace(-8, 8, 161, dtype=np.float32)[:, None]
    y = (x[:, 0] >= optimum).astype(int)
    return ThresholdSearch(**settings).fit(x, y, x, y)


@pytest.mark.parametrize(
    ("optimum", "added", "chosen", "at_edge"),
    [
        (10, [], 10, []),
        (1000, [1000, 10_000], 1000, []),
        (0.01, [0.1, 0.01, 0.001], 0.01, []),
        (1e7, [1000, 10_000, 100_000], 100_000, ["threshold"]),
    ],
)
def test_the_grid_extends_itself_until_the_best_is_inside(
    optimum: float, added: list[float], chosen: float, at_edge: list[str]
) -> None:
    search = fit(optimum)
    assert search.best_params_ == {"threshold": chosen}
    assert search.extended_ == ({"threshold": added} if added else {})
    assert search.at_edge_ == at_edge
    assert [row["params"]["threshold"] for row in search.cv_results_] == [1, 10, 100, *added]


def test_without_extension_the_edge_is_reported() -> None:
    search = fit(1e7, extend=False)
    assert (search.best_params_, search.extended_, search.at_edge_) == ({"threshold": 100}, {}, ["threshold"])


def test_on_a_plateau_one_inside_is_chosen_and_nothing_added() -> None:
    x = np.array([[1e-9], [1e9]], np.float32)
    search = ThresholdSearch().fit(x, [0, 1], x, [0, 1])
    assert (search.best_params_, search.extended_, search.at_edge_) == ({"threshold": 10}, {}, [])


def test_settings_of_one_solution_are_one_row_and_its_largest_no_edge() -> None:
    search = fit(1e7, saturated=10)
    assert [(row["params"], row["same_as"]) for row in search.cv_results_] == [
        ({"threshold": 1}, []),
        ({"threshold": 10}, [{"threshold": 100}]),
    ]
    assert (search.best_params_, search.at_edge_) == ({"threshold": 10}, [])
    assert search.cv_results_[1]["fit_s"] == pytest.approx(2, abs=0.5)
    assert len(search.predict_each(np.zeros((4, 1), np.float32))) == 2


def test_an_unknown_score_is_named() -> None:
    with pytest.raises(ValueError, match="loss.*accuracy, macro_f1"):
        fit(10, select="loss")
