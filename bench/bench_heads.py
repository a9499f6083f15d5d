"""Searches on features: every method as `transfer run` has it, and the same work done in the usual ways.

Features lie in memory and are read before the clock starts. Ours and the references of an operation do the same:
the same settings are fitted to the training rows and scored on the validation rows, and the best is kept. On CUDA the
clock includes moving the features to the device and the weights back. Heads predict on the processor wherever
they were fitted, so predictions have no CUDA cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from bench import grids
from bench.conftest import judge
from bench.features import Rows
from bench.operation import Operation, each_device
from bench.references import adam_loop, one_by_one, svc_grid
from transfer.config import RunConfig
from transfer.heads import SVM
from transfer.heads.base import GridSearch
from transfer.heads.registry import METHODS, SVM_KIND
from transfer.system.hardware import usable_cores

LEAST = 0.4  # of the test rows are predicted right
LONG_ROUNDS = 2  # of references that take a second or more, and
GRID_ROUNDS = 1  # of the one that takes ten
FEW = 128  # rows that start the threads and processes of such a reference


@dataclass(frozen=True)
class Reference:
    """The usual way to do one of our searches."""

    name: str
    fit: Callable[[Rows], Any]
    """Gives something that predicts."""
    at_most: int | None = None


def fit_svc(rows: Rows) -> Any:
    """Fit one SVC, scored on the validation rows."""
    svc = SVC().fit(rows.x_train, rows.y_train)
    svc.predict(rows.x_valid)
    return svc


def fit_grid(rows: Rows) -> Any:
    """Return the winner of a `GridSearchCV`."""
    return svc_grid.search(rows, n_jobs=usable_cores())[1]


def fit_one_by_one(name: str, rows: Rows) -> Any:
    """Return the best of a loop over pipelines."""
    return one_by_one.search(rows, one_by_one.GRIDS[name])


# What is fitted, the method whose search does it, and the usual way; both go through the same settings.
EQUAL = {
    "fit, SVM, 1 setting": ("svm-lab", Reference("SVC", fit_svc)),
    "fit, SVM, 10 settings": ("svm", Reference("GridSearchCV", fit_grid, GRID_ROUNDS)),
    "fit, ridge, 5 settings": (
        "ridge",
        Reference("one by one", partial(fit_one_by_one, "ridge")),
    ),
    "fit, logreg, 5 settings": (
        "logreg",
        Reference("one by one", partial(fit_one_by_one, "logreg"), LONG_ROUNDS),
    ),
    "fit, knn, 3 settings": ("knn", Reference("one by one", partial(fit_one_by_one, "knn"))),
}


def fit(search: GridSearch, rows: Rows) -> GridSearch:
    """Fit one of our searches."""
    return search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)


def first(rows: Rows, count: int) -> Rows:
    """Return the first training rows, with all validation and test rows."""
    return replace(rows, x_train=rows.x_train[:count], y_train=rows.y_train[:count])


def shape(rows: Rows) -> list[int]:
    """Return the number of training rows and their width."""
    return list(rows.x_train.shape)


def takes_device(method: str) -> bool:
    """Return whether a method takes a device."""
    return "device" in grids.search(method).get_params()


def skip_where_cuda_is_not_used(call: Callable[[], Any], device: str) -> None:
    """Skip a way that is given a GPU but does not use its memory."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        if torch.cuda.max_memory_allocated() == before:
            pytest.skip("leaves so few rows to the processor")


@pytest.mark.benchmark(group="fit, methods of transfer run")
@each_device
def bench_methods(operation: Operation, subtests: pytest.Subtests, rows: Rows, device: str) -> None:
    """Time every method; no two of them do the same work."""
    for name in METHODS:
        if device == "cuda" and not takes_device(name):
            continue
        with subtests.test(name):

            def call(name: str = name) -> GridSearch:
                return fit(METHODS[name].build(RunConfig(data="synthetic", device=device)), rows)

            skip_where_cuda_is_not_used(call, device)
            operation.add(name, call, partial(_judge, rows), method=name, shape=shape(rows))
    operation.time()


@pytest.mark.benchmark(group="fit, last layer, 4 rates, 10 epochs")
@each_device
def bench_last_layer(operation: Operation, rows: Rows, device: str) -> None:
    """Time the lab's protocol."""
    operation.add(
        "fc-lab",
        lambda: fit(grids.search("fc-lab", device), rows),
        partial(_judge, rows),
        method="fc-lab",
        shape=shape(rows),
    )
    operation.add(
        "DataLoader loop",
        lambda: adam_loop.search(rows, **adam_loop.LAB, device=device),
        lambda layer: judge(rows.y_test, adam_loop.predict(layer, rows.x_test), least=LEAST),
        reference=True,
        shape=shape(rows),
        warm_up=lambda: adam_loop.search(first(rows, FEW), **adam_loop.LAB, device=device),
    )
    operation.time()


@pytest.mark.parametrize(
    ("method", "reference"),
    [pytest.param(*ways, marks=pytest.mark.benchmark(group=name), id=name) for name, ways in EQUAL.items()],
)
def bench_search(operation: Operation, rows: Rows, method: str, reference: Reference) -> None:
    """Time a search and its reference over the same settings."""
    few = first(rows, FEW)
    operation.add(
        f"{method}, these settings",
        lambda: fit(grids.search(method), rows),
        partial(_judge, rows),
        shape=shape(rows),
    )
    operation.add(
        reference.name,
        lambda: reference.fit(rows),
        partial(_judge_reference, rows, method),
        reference=True,
        shape=shape(rows),
        warm_up=(lambda: reference.fit(few)) if reference.at_most else None,
        at_most=reference.at_most,
    )
    operation.time()


@pytest.mark.benchmark(group="predict, chosen setting")
def bench_predict(operation: Operation, rows: Rows) -> None:
    """Time predictions with the chosen setting."""
    for name in METHODS:
        search = fit(METHODS[name].build(RunConfig(data="synthetic", device="cpu")), rows)
        operation.add(
            name,
            partial(search.predict, rows.x_test),
            partial(judge, rows.y_test, least=LEAST),
            method=name,
            images=len(rows.y_test),
            shape=shape(rows),
        )
    operation.time()


def _judge(rows: Rows, fitted: Any) -> dict[str, float]:
    return judge(rows.y_test, fitted.predict(rows.x_test), least=LEAST)


def _judge_reference(rows: Rows, method: str, fitted: Any) -> dict[str, float]:
    """Return scores; for SVMs also whether our head with the same setting predicts the same."""
    predicted_N = fitted.predict(rows.x_test)
    if METHODS[method].kind == SVM_KIND:
        svc = fitted if isinstance(fitted, SVC) else fitted[-1]
        ours = SVM(kernel=svc.kernel, C=svc.C, standardize=svc is not fitted).fit(rows.x_train, rows.y_train)
        np.testing.assert_array_equal(ours.predict(rows.x_test), predicted_N)
    return judge(rows.y_test, predicted_N, least=LEAST)
