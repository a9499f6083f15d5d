"""Whole searches on features, every method of the registry, against the usual ways of fitting them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.svm import SVC

from bench.conftest import Rows
from bench.references import adam_loop, svc_grid
from transfer.config import RunConfig
from transfer.environment import usable_cores
from transfer.heads import METHODS

CONFIG = RunConfig(data="synthetic")
GRID_KERNELS, GRID_C = ("linear", "rbf"), (0.01, 0.1, 1, 10, 100)
# Equal work stands together: settings that are fitted and then scored on the validation rows.
FOUR_RATES, ONE_SVM, TEN_SVMS = "fit, last layer, 4 rates", "fit, SVM, 1 setting", "fit, SVM, 10 settings"
OPERATIONS = {"fc-lab": FOUR_RATES, "fc": FOUR_RATES, "svm-lab": ONE_SVM, "svm": TEN_SVMS}


def parts(rows: Rows) -> tuple[Any, Any, Any, Any]:
    """Training rows and labels, and those of the last tenth of them, which validates."""
    n = len(rows.y_train) * 9 // 10
    return rows.x_train[:n], rows.y_train[:n], rows.x_train[n:], rows.y_train[n:]


@pytest.mark.parametrize("name", METHODS)
def bench_fit(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    search = timed(
        lambda search: search.fit(*parts(rows)),
        operation=OPERATIONS.get(name, f"fit, {name}"),
        way=f"transfer {name}",
        setup=lambda: ((METHODS[name].build(CONFIG),), {}),  # a fresh head for each round
        shape=list(rows.x_train.shape),
    )
    assert (search.predict(rows.x_test) == rows.y_test).mean() > 0.4


@pytest.mark.parametrize("name", METHODS)
def bench_predict(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    search = METHODS[name].build(CONFIG).fit(*parts(rows))
    predicted = timed(
        lambda: search.predict(rows.x_test),
        operation="predict, chosen setting",
        way=f"transfer {name}",
        images=len(rows.y_test),
    )
    assert (predicted == rows.y_test).mean() > 0.4


def bench_adam_loop(timed: Callable[..., Any], rows: Rows) -> None:
    x, y, x_valid, y_valid = (torch.from_numpy(part) for part in parts(rows))

    def fit() -> float:
        layers = adam_loop.fit(x, y, 16, lr=CONFIG.lr, epochs=CONFIG.epochs, batch_size=CONFIG.batch_size)
        with torch.no_grad():
            return max(float((layer(x_valid).argmax(1) == y_valid).float().mean()) for layer in layers)

    best = timed(
        fit,
        operation=FOUR_RATES,
        way="reference: DataLoader loop",
        shape=list(rows.x_train.shape),
    )
    assert best > 0.4


def bench_svc(timed: Callable[..., Any], rows: Rows) -> None:
    x, y, x_valid, y_valid = parts(rows)
    right = timed(
        lambda: (SVC().fit(x, y).predict(x_valid) == y_valid).mean(),
        operation=ONE_SVM,
        way="reference: SVC",
        shape=list(rows.x_train.shape),
    )
    assert right > 0.4


def bench_svc_grid(timed: Callable[..., Any], rows: Rows) -> None:
    n_train = len(parts(rows)[0])
    search = timed(
        lambda: svc_grid.search(
            rows.x_train, rows.y_train, n_train, kernels=GRID_KERNELS, C=GRID_C, n_jobs=usable_cores()
        ),
        operation=TEN_SVMS,
        way="reference: GridSearchCV",
        shape=list(rows.x_train.shape),
    )
    assert search.cv_results_["mean_test_score"].max() > 0.2
