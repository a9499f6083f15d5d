"""Whole searches on features, every method of the registry, against the usual ways of fitting them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from torch import nn

from bench import references
from bench.conftest import Profile
from bench.features import Rows
from bench.references import adam_loop, one_by_one, svc_grid, uncached_loop
from bench.ways import SIZE
from transfer import backbone
from transfer.config import RunConfig
from transfer.environment import usable_cores
from transfer.heads import METHODS

CONFIG = RunConfig(data="synthetic")
# Equal work stands together: settings that are fitted and then scored on the validation rows.
FOUR_RATES, ONE_SVM, TEN_SVMS = "fit, last layer, 4 rates", "fit, SVM, 1 setting", "fit, SVM, 10 settings"
OPERATIONS = {"fc-lab": FOUR_RATES, "fc": FOUR_RATES, "svm-lab": ONE_SVM, "svm": TEN_SVMS}
LEAST = 0.4  # of the test rows are told right


def fitted(name: str, rows: Rows, search: Any = None) -> Any:
    """The search of a method, fitted."""
    search = search or METHODS[name].build(CONFIG)
    return search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)


@pytest.mark.parametrize("name", METHODS)
def bench_fit(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    search = timed(
        lambda search: fitted(name, rows, search),
        operation=OPERATIONS.get(name, f"fit, {name}"),
        way=f"transfer {name}",
        setup=lambda: ((METHODS[name].build(CONFIG),), {}),  # a fresh head for each round
        shape=list(rows.x_train.shape),
    )
    assert (search.predict(rows.x_test) == rows.y_test).mean() > LEAST


@pytest.mark.parametrize("name", METHODS)
def bench_predict(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    search = fitted(name, rows)
    predicted = timed(
        lambda: search.predict(rows.x_test),
        operation="predict, chosen setting",
        way=f"transfer {name}",
        images=len(rows.y_test),
    )
    assert (predicted == rows.y_test).mean() > LEAST


def bench_adam_loop(timed: Callable[..., Any], rows: Rows) -> None:
    x, y = torch.from_numpy(rows.x_train), torch.from_numpy(rows.y_train)
    x_valid, y_valid = torch.from_numpy(rows.x_valid), torch.from_numpy(rows.y_valid)

    def fit() -> float:
        layers = adam_loop.fit(x, y, 16, lr=CONFIG.lr, epochs=CONFIG.epochs, batch_size=CONFIG.batch_size)
        with torch.no_grad():
            return max(float((layer(x_valid).argmax(1) == y_valid).float().mean()) for layer in layers)

    best = timed(fit, operation=FOUR_RATES, way="reference: DataLoader loop", shape=list(rows.x_train.shape))
    assert best > LEAST


def bench_uncached_loop(timed: Callable[..., Any], profile: Profile, rows: Rows, photographs: Path) -> None:
    """Timed for one epoch over a few photographs, and scaled to the rows, epochs and rates of the others."""
    torch.manual_seed(0)
    body = backbone.build(profile.backbone, backbone.random_state(profile.backbone, seed=0, batches=()))
    loader = references.loader(photographs, SIZE)
    width = body(next(iter(loader))[0][:1]).shape[1]

    def fresh() -> tuple[Any, Any]:
        layer = nn.Linear(width, 16)
        return (layer, torch.optim.Adam(layer.parameters())), {}

    def epoch(layer: nn.Linear, adam: torch.optim.Optimizer) -> nn.Linear:
        uncached_loop.epoch(body, layer, adam, loader)
        return layer

    layer = timed(
        epoch,
        operation=FOUR_RATES,
        way="reference: uncached",
        setup=fresh,
        scaled_by=len(rows.y_train) * CONFIG.epochs * len(CONFIG.lr) / profile.images,
    )
    assert torch.isfinite(layer.weight).all()


def bench_svc(timed: Callable[..., Any], rows: Rows) -> None:
    right = timed(
        lambda: (SVC().fit(rows.x_train, rows.y_train).predict(rows.x_valid) == rows.y_valid).mean(),
        operation=ONE_SVM,
        way="reference: SVC",
        shape=list(rows.x_train.shape),
    )
    assert right > LEAST


def bench_svc_grid(timed: Callable[..., Any], rows: Rows) -> None:
    _, winner = timed(
        lambda: svc_grid.search(rows, n_jobs=usable_cores()),
        operation=TEN_SVMS,
        way="reference: GridSearchCV",
        shape=list(rows.x_train.shape),
    )
    assert np.mean(winner.predict(rows.x_test) == rows.y_test) > LEAST


@pytest.mark.parametrize("name", one_by_one.GRIDS)
def bench_one_by_one(timed: Callable[..., Any], rows: Rows, name: str) -> None:
    best = timed(
        lambda: one_by_one.search(rows, one_by_one.GRIDS[name]),
        operation=f"fit, {name}",
        way="reference: one by one",
        shape=list(rows.x_train.shape),
    )
    assert np.mean(best.predict(rows.x_test) == rows.y_test) > LEAST
