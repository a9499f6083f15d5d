from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from transfer.heads.solutions import curve_columns, ranking, validation_scores


def row(accuracy: float, macro_f1: float) -> dict[str, float]:
    return {"accuracy": accuracy, "macro_f1": macro_f1}


@pytest.mark.parametrize(
    ("rows", "select", "best"),
    [
        ([row(0.9, 0.2), row(0.8, 0.3)], "macro_f1", 1),
        ([row(0.9, 0.2), row(0.8, 0.3)], "accuracy", 0),
        ([row(0.7, 0.3), row(0.8, 0.3)], "macro_f1", 1),
        ([row(0.8, 0.3), row(0.8, 0.3)], "macro_f1", 0),
    ],
)
def test_the_best_wins_then_the_other_score_then_the_first(
    rows: list[dict[str, float]], select: str, best: int
) -> None:
    assert ranking(rows, select)[0] == best


def test_an_unknown_score_is_named() -> None:
    with pytest.raises(ValueError, match="loss.*accuracy, macro_f1"):
        ranking([row(1, 1)], "loss")


def test_scores_of_names_equal_scikit_learns() -> None:
    y, predicted = np.random.default_rng(0).choice(["x", "y", "z"], (2, 50))
    scored = validation_scores(y, predicted)
    assert scored["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert scored["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))


def test_what_is_not_finite_in_a_curve_is_none() -> None:
    curve = [{"step": 5, "loss": 0.5}, {"step": 10, "loss": float("nan")}, {"step": 15, "loss": float("inf")}]
    assert curve_columns(curve) == {"step": [5, 10, 15], "loss": [0.5, None, None]}
    assert curve_columns([]) == {}
