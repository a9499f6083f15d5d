"""A whole run: every method on a few photographs, with an empty store and with a full one.

The clock starts with the modules imported and the files in the system's cache, and includes all that `transfer run`
does until its result is there: images read, an engine made ready, features, searches, scores. The engine is the
usual one, told; with `auto` trials of all come first, which for so few photographs take longer than anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.conftest import Profile
from bench.ways import CLASSES, SIZE
from transfer import experiment
from transfer.config import RunConfig
from transfer.heads import METHODS
from transfer.results import Result

LEAST = 0.25  # of the test images the method that was best on validation tells right: more than by chance
Run = Callable[[str, str, Path], Result]
each_device = pytest.mark.parametrize("device", ["cpu", "cuda"])


@pytest.fixture(scope="module")
def run(config: Callable[..., RunConfig]) -> Run:
    """A function that runs with an engine, on a device, with a store."""
    return lambda engine, device, store: experiment.run(config(engine, device, store))


@pytest.fixture(scope="module")
def filled(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Result]]:
    """A store that a first run has filled, and its result; as a run it warms up those that are timed."""

    @cache
    def on(device: str) -> tuple[Path, Result]:
        store = tmp_path_factory.mktemp("filled")
        return store, run("usual", device, store)

    return on


@pytest.mark.benchmark(group="run, empty store")
@pytest.mark.parametrize("engine", ["usual", "auto"])
@each_device
def bench_cold(
    timed: Callable[..., Any],
    benchmark: Any,
    profile: Profile,
    run: Run,
    filled: Callable[[str], tuple[Path, Result]],
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,
    device: str,
) -> None:
    if engine == "auto" and not profile.long_setups:
        pytest.skip("trials of engines take long; timed with --profile full")
    result = timed(
        lambda store: run(engine, device, store),
        way="run" if engine == "usual" else "run, engine auto",
        setup=lambda: ((tmp_path_factory.mktemp("store"),), {}),
        warm_up=lambda: filled(device),
        images=len(CLASSES) * sum(profile.labelled),
        shape=list(SIZE),
        network=profile.backbone,
    )
    keep(benchmark, result, computed=len(CLASSES) * sum(profile.labelled))


@pytest.mark.benchmark(group="run, full store")
@each_device
def bench_warm(
    timed: Callable[..., Any],
    benchmark: Any,
    profile: Profile,
    run: Run,
    filled: Callable[[str], tuple[Path, Result]],
    device: str,
) -> None:
    store, first = filled(device)
    result = timed(
        lambda: run("usual", device, store),
        way="run",
        images=len(CLASSES) * sum(profile.labelled),
        shape=list(SIZE),
        network=profile.backbone,
    )
    keep(benchmark, result, computed=0)
    assert scores(result) == scores(first)


def keep(benchmark: Any, result: Result, *, computed: int) -> None:
    """What ran, and how right it was, beside the times; `AssertionError` where it was not what was asked for."""
    best = next(method for method in result.methods if method["name"] == result.comparison["best"])
    benchmark.extra_info.update(
        precision=result.engine["precision"],
        batch=result.engine["batch"],
        accuracy=best["test"]["accuracy"],
        macro_f1=best["test"]["macro_f1"],
    )
    assert result.features["computed"] == computed
    assert {method["name"] for method in result.methods} == set(METHODS)
    assert best["test"]["accuracy"] > LEAST


def scores(result: Result) -> dict[str, Any]:
    """What hangs on nothing but the features."""
    return {method["name"]: (method["best_params"], method["test"]) for method in result.methods}
