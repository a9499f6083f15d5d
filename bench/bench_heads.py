"""Whole searches on features, every method of the registry, against the usual ways of fitting them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.conftest import Rows
from bench.references import adam_loop, svc_grid
from transfer.config import RunConfig
from transfer.environment import usable_cores
from transfer.heads import METHODS

CONFIG = RunConfig(data="synthetic")
GRID_KERNELS, GRID_C = ("linear", "rbf"), (0.01, 0.1, 1, 10, 100)


def validation(rows: Rows) -> tuple[Rows, int]:
    """The last tenth of the training rows validates."""
    return rows, len(rows.y_train) * 9 // 10


@pytest.mark.parametrize("name", METHODS)
def bench_fit(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    rows, n = validation(rows)
    x, y = rows.x_train, rows.y_train

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (METHODS[name].build(CONFIG),), {}

    search = timed(
        lambda search: search.fit(x[:n], y[:n], x[n:], y[n:]),
        operation=f"fit, {METHODS[name].kind}",
        way=f"transfer {name}",
        setup=fresh,
        shape=list(x.shape),
    )
    assert (search.predict(rows.x_test) == rows.y_test).mean() > 0.4


@pytest.mark.parametrize("name", METHODS)
def bench_predict(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    rows, n = validation(rows)
    x, y = rows.x_train, rows.y_train
    search = METHODS[name].build(CONFIG).fit(x[:n], y[:n], x[n:], y[n:])
    predicted = timed(
        lambda: search.predict(rows.x_test),
        operation="predict",
        way=f"transfer {name}",
        images=len(rows.y_test),
    )
    assert (predicted == rows.y_test).mean() > 0.4


def bench_adam_loop(timed: Callable[..., Any], rows: Rows) -> None:
    rows, n = validation(rows)
    x, y = torch.from_numpy(rows.x_train[:n]), torch.from_numpy(rows.y_train[:n])
    layers = timed(
        lambda: adam_loop.fit(x, y, 16, lr=CONFIG.lr, epochs=CONFIG.epochs, batch_size=CONFIG.batch_size),
        operation="fit, fine-tuning",
        way="reference: DataLoader loop, one rate after the other",
        shape=list(x.shape),
        settings=len(CONFIG.lr),
    )
    with torch.no_grad():
        best = max((layer(torch.from_numpy(rows.x_test)).argmax(1).numpy() == rows.y_test).mean() for layer in layers)
    assert best > 0.4


def bench_svc_grid(timed: Callable[..., Any], rows: Rows) -> None:
    rows, n = validation(rows)
    search = timed(
        lambda: svc_grid.search(
            rows.x_train, rows.y_train, n, kernels=GRID_KERNELS, C=GRID_C, n_jobs=usable_cores()
        ),
        operation="fit, SVM",
        way="reference: GridSearchCV(SVC), all cores",
        shape=list(rows.x_train.shape),
        settings=len(GRID_KERNELS) * len(GRID_C),
    )
    assert (search.predict(rows.x_test) == rows.y_test).mean() > 0.4
