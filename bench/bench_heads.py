"""Whole searches on features, every method of the registry, against the usual ways of fitting them.

Features lie in memory and are read before the clock starts. Ours and the references of an operation do the same:
settings are fitted to the training rows, scored on the validation rows, and the best is kept. On CUDA the clock
includes the way of the features to the device and of the weights back. Heads predict on the processor wherever they
were fitted, so predictions have no CUDA cases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from torch import nn

from bench import references
from bench.conftest import Profile, judge
from bench.features import Rows
from bench.references import adam_loop, one_by_one, svc_grid, uncached_loop
from bench.ways import SIZE
from transfer import backbone, weights
from transfer.config import RunConfig
from transfer.environment import usable_cores
from transfer.heads import METHODS

CONFIG = RunConfig(data="synthetic", device="cpu")
# Equal work stands together: settings that are fitted and then scored on the validation rows.
FOUR_RATES, ONE_SVM, TEN_SVMS = "fit, last layer, 4 rates", "fit, SVM, 1 setting", "fit, SVM, 10 settings"
OPERATIONS = {"fc-lab": FOUR_RATES, "fc": FOUR_RATES, "svm-lab": ONE_SVM, "svm": TEN_SVMS}
LEAST = 0.4  # of the test rows are told right
DEAR_ROUNDS = 2  # of references that take seconds
FEW = 128  # rows that start the threads and processes of such a reference


def operation(name: str) -> pytest.MarkDecorator:
    """The mark of what is done."""
    return pytest.mark.benchmark(group=name)


def devices(method: str) -> tuple[str, ...]:
    """Those that a method can be told to use."""
    takes_one = "device" in METHODS[method].build(CONFIG).get_params()
    return ("cpu", "cuda") if takes_one else ("cpu",)


FITS = [
    pytest.param(name, device, marks=operation(OPERATIONS.get(name, f"fit, {name}")), id=f"{name}-{device}")
    for name in METHODS
    for device in devices(name)
]


def fitted(name: str, rows: Rows, device: str = "cpu") -> Any:
    """The search of a method, fitted."""
    search = METHODS[name].build(RunConfig(data="synthetic", device=device))
    return search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)


def uses_cuda(call: Callable[[], Any]) -> bool:
    """Whether a call puts anything into the GPU's memory."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() > before


@pytest.mark.parametrize(("name", "device"), FITS)
def bench_fit(timed: Callable[..., Any], benchmark: Any, rows: Rows, name: str, device: str) -> None:
    if device == "cuda" and not uses_cuda(lambda: fitted(name, rows, device)):
        pytest.skip(f"{name} leaves so few rows to the processor")
    search = timed(
        lambda search: search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid),
        way=name,
        method=name,
        setup=lambda: ((METHODS[name].build(RunConfig(data="synthetic", device=device)),), {}),
        shape=list(rows.x_train.shape),
    )
    judge(benchmark, rows.y_test, search.predict(rows.x_test), least=LEAST)


@operation("predict, chosen setting")
@pytest.mark.parametrize("name", METHODS)
def bench_predict(timed: Callable[..., Any], benchmark: Any, rows: Rows, name: str) -> None:
    search = fitted(name, rows)
    told_N = timed(
        lambda: search.predict(rows.x_test),
        way=name,
        method=name,
        images=len(rows.y_test),
        shape=list(rows.x_train.shape),
    )
    judge(benchmark, rows.y_test, told_N, least=LEAST)


@operation(FOUR_RATES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def bench_adam_loop(timed: Callable[..., Any], benchmark: Any, rows: Rows, device: str) -> None:
    layer = timed(
        lambda: adam_loop.search(
            rows, lr=CONFIG.lr, epochs=CONFIG.epochs, batch_size=CONFIG.batch_size, device=device
        ),
        way="DataLoader loop",
        reference=True,
        shape=list(rows.x_train.shape),
    )
    judge(benchmark, rows.y_test, adam_loop.predict(layer, rows.x_test), least=LEAST)


@operation(FOUR_RATES)
def bench_uncached_loop(
    timed: Callable[..., Any],
    profile: Profile,
    rows: Rows,
    photographs: Callable[[str], Path],
    untrained: Path,
) -> None:
    """Timed for one batch of photographs, and scaled to the rows, epochs and rates of the others."""
    torch.manual_seed(0)
    body = backbone.build(profile.backbone, weights.load(untrained))
    loader = references.loader(photographs("cpu"), SIZE)
    width, frozen = body(next(iter(loader))[0]).shape[1], next(body.parameters()).clone()

    def fresh() -> tuple[Any, Any]:
        layer = nn.Linear(width, 16)
        return (layer, torch.optim.Adam(layer.parameters())), {}

    def one_batch(layer: nn.Linear, adam: torch.optim.Optimizer) -> nn.Linear:
        uncached_loop.epoch(body, layer, adam, itertools.islice(loader, 1))
        return layer

    layer = timed(
        one_batch,
        way="uncached",
        reference=True,
        setup=fresh,
        shape=list(rows.x_train.shape),
        at_most=DEAR_ROUNDS,
        scaled_by=len(rows.y_train) * CONFIG.epochs * len(CONFIG.lr) / references.BATCH,
    )
    assert torch.isfinite(layer.weight).all()
    assert torch.equal(next(body.parameters()), frozen)


@operation(ONE_SVM)
def bench_svc(timed: Callable[..., Any], benchmark: Any, rows: Rows) -> None:
    """`svm-lab` is held against it: their predictions are the same."""

    def fit() -> Any:
        svc = SVC().fit(rows.x_train, rows.y_train)
        svc.predict(rows.x_valid)
        return svc

    svc = timed(fit, way="SVC", reference=True, shape=list(rows.x_train.shape))
    told_N = svc.predict(rows.x_test)
    judge(benchmark, rows.y_test, told_N, least=LEAST)
    np.testing.assert_array_equal(fitted("svm-lab", rows).predict(rows.x_test), told_N)


@operation(TEN_SVMS)
def bench_svc_grid(timed: Callable[..., Any], benchmark: Any, rows: Rows) -> None:
    """`svm` is held against it: its head of the winning setting predicts the same."""
    few = first(rows, FEW)
    grid, winner = timed(
        lambda: svc_grid.search(rows, n_jobs=usable_cores()),
        way="GridSearchCV",
        reference=True,
        shape=list(rows.x_train.shape),
        warm_up=lambda: svc_grid.search(few, n_jobs=usable_cores()),
        at_most=DEAR_ROUNDS,
    )
    told_N = winner.predict(rows.x_test)
    judge(benchmark, rows.y_test, told_N, least=LEAST)
    ours = fitted("svm", rows)
    settings = [(row["params"]["kernel"], row["params"]["C"]) for row in ours.cv_results_]
    chosen = settings.index((grid.best_params_["svc__kernel"], grid.best_params_["svc__C"]))
    np.testing.assert_array_equal(ours.predict_each(rows.x_test)[chosen], told_N)


@pytest.mark.parametrize("name", [pytest.param(n, marks=operation(f"fit, {n}")) for n in one_by_one.GRIDS])
def bench_one_by_one(timed: Callable[..., Any], benchmark: Any, rows: Rows, name: str) -> None:
    few = first(rows, FEW)
    best = timed(
        lambda: one_by_one.search(rows, one_by_one.GRIDS[name]),
        way="one by one",
        reference=True,
        shape=list(rows.x_train.shape),
        warm_up=lambda: one_by_one.search(few, one_by_one.GRIDS[name]),
        at_most=DEAR_ROUNDS if name == "logreg" else None,
    )
    judge(benchmark, rows.y_test, best.predict(rows.x_test), least=LEAST)


def first(rows: Rows, count: int) -> Rows:
    """The first training rows of all, with the rows that validate and judge."""
    return replace(rows, x_train=rows.x_train[:count], y_train=rows.y_train[:count])
