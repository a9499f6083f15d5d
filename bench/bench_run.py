"""A whole run: every method on a few photographs, with an empty store and with a full one.

The clock starts with the modules imported and the files in the system's cache, and includes all that `transfer run`
does until its result exists: reading images, preparing an engine, features, searches, scores. The engine is the
usual one, by name; with `auto` trials of all come first, which take longer than anything else for so few photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.conftest import FirstRun
from bench.operation import Operation, each_device
from bench.profiles import Profile
from bench.ways import CLASSES, SIZE
from transfer.config import RunConfig
from transfer.evaluation import experiment
from transfer.evaluation.results import Result
from transfer.heads.registry import default_methods

LEAST = 0.25  # of the test images the method that was best on validation predicts right: more than by chance
Run = Callable[[str, str, Path], Result]


@pytest.fixture(scope="module")
def run(config: Callable[..., RunConfig]) -> Run:
    """Return a function that runs with an engine, on a device, with a store."""
    return lambda engine, device, store: experiment.run(config(engine, device, store))


@pytest.mark.benchmark(group="run, empty store")
@each_device
def bench_cold(
    operation: Operation,
    profile: Profile,
    run: Run,
    first_run: Callable[[str], FirstRun],
    tmp_path_factory: pytest.TempPathFactory,
    device: str,
) -> None:
    """Time a run with an empty store."""
    names = {"usual": "run", "auto": "run, engine auto"}

    def cold(engine: str) -> Result:
        return run(engine, device, tmp_path_factory.mktemp("store"))

    for engine in ("usual", "auto") if profile.long_setups else ("usual",):
        operation.add(
            names[engine],
            partial(cold, engine),
            partial(shown, computed=_count(profile)),
            warm_up=lambda: first_run(device),
            **_work(profile),
        )
    operation.time()


@pytest.mark.benchmark(group="run, full store")
@each_device
def bench_warm(
    operation: Operation,
    profile: Profile,
    run: Run,
    first_run: Callable[[str], FirstRun],
    device: str,
) -> None:
    """Time a run with a full store."""
    first = first_run(device)

    def check(result: Result) -> dict[str, Any]:
        assert scores(result) == scores(first.result)
        return shown(result, computed=0)

    # The first run has warmed it up.
    operation.add(
        "run", lambda: run("usual", device, first.store), check, warm_up=lambda: None, **_work(profile)
    )
    operation.time()


def shown(result: Result, *, computed: int) -> dict[str, Any]:
    """Return what ran and its scores; fail if it is not what was asked for."""
    best = next(method for method in result.methods if method["name"] == result.comparison["best"])
    assert result.features["computed"] == computed
    assert {method["name"] for method in result.methods} == set(default_methods())
    assert best["test"]["accuracy"] > LEAST
    return {
        "precision": result.engine["precision"],
        "batch": result.engine["batch"],
        "accuracy": best["test"]["accuracy"],
        "macro_f1": best["test"]["macro_f1"],
    }


def scores(result: Result) -> dict[str, Any]:
    """Return what depends on the features alone."""
    return {method["name"]: (method["best_params"], method["test"]) for method in result.methods}


def _work(profile: Profile) -> dict[str, Any]:
    """Return the amount of work that all ways do, and how often."""
    return {
        "images": _count(profile),
        "shape": list(SIZE),
        "network": profile.backbone,
        "at_most": profile.network_rounds,
    }


def _count(profile: Profile) -> int:
    """Return the number of photographs in all splits."""
    return len(CLASSES) * sum(profile.labelled)
