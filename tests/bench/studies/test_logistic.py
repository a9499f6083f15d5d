import io

import numpy as np
import pytest
from rich.console import Console
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from bench.studies import logistic


def test_the_objective_is_that_of_scikit_learn() -> None:
    x_ND, y_N = load_iris(return_X_y=True)
    head = LogisticRegression(C=0.1, tol=1e-10, max_iter=1000).fit(x_ND, y_N)
    least = logistic.objective(x_ND, y_N, head, 0.1)
    loss = -np.log(head.predict_proba(x_ND)[np.arange(len(y_N)), y_N]).sum()
    assert least == pytest.approx(0.1 * loss + (head.coef_**2).sum() / 2)
    for move in (1e-2, -1e-2):
        head.coef_ = head.coef_ + move
        assert logistic.objective(x_ND, y_N, head, 0.1) > least
        head.coef_ = head.coef_ - move


@pytest.mark.slow
def test_a_set_is_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "SETS", {"small": (120, 64, 3)})
    monkeypatch.setattr(logistic, "SIDE", 32)
    console = Console(file=io.StringIO(), width=120)
    logistic.measure("small", rounds=1, tight=True, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "120 x 64 features, 3 classes, five C" in text
    assert {"logreg", "LogisticRegression", "tol=1e-07"} <= set(text.replace(",", "").split())
