"""Benchmarks of the gate: milliseconds of each kind of work, from files to scores, and controls.

Run by the gate alone, with the newer revision's copy of this file and either revision's `transfer`. So nothing of
`transfer` is imported before a benchmark needs it: what an older revision does not have fails that benchmark alone.
A process has one core and one thread, but for a benchmark with two of each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.gate.plugin import PARTS, TURNS
from transfer.system.progress import silent

if TYPE_CHECKING:
    from bench.features import Rows

INPUTS = Path(os.environ["GATE_INPUTS"])
SIZE = (64, 224)
Timed = Callable[..., Any]

if TURNS in os.environ:  # imported before the first turn: it takes as long as all benchmarks
    for name in ("torchvision", "sklearn.svm", "scipy.stats"):
        import_module(name)

# Those that this process may use before the gate gives it one of them.
CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
_warm: set[str] = set()
"""Benchmarks that this process has started."""


@pytest.fixture(scope="session")
def rows() -> Rows:
    """Return synthetic features."""
    from bench import features

    return features.synthetic(800, 100, 800, width=384)


@pytest.fixture
def timed(benchmark: Any) -> Timed:
    """Return a function that times `call(*setup())` for a part's share of `rounds`, after a warm-up.

    It returns the last result.
    """

    def time(call: Callable[..., Any], *, rounds: int, setup: Callable[[], tuple[Any, ...]] = tuple) -> Any:
        share, cold = ceil(rounds / PARTS), benchmark.name not in _warm
        _warm.add(benchmark.name)
        return benchmark.pedantic(call, setup=lambda: (setup(), {}), rounds=share, warmup_rounds=int(cold))

    return time


def bench_decode(timed: Timed) -> None:
    """Time decoding."""
    from transfer.data import decode

    files = [path.read_bytes() for path in sorted(INPUTS.glob("photographs/*/*.jpg"))]
    pixels = timed(lambda: [decode.pixels(data, (240, 800)) for data in files], rounds=15)
    assert {x_HW3.shape for x_HW3 in pixels} == {(240, 800, 3)}


def bench_extract_cold(timed: Timed, tmp_path: Path) -> None:
    """Time an extraction with an empty store."""
    from transfer.data import dataset
    from transfer.system.timer import Stopwatch

    extract: Any = import_module("transfer.features.extract")  # older revisions define `fill` there
    found, fresh = dataset.find(INPUTS / "photographs", seed=0), count()
    config = _config(tmp_path)
    done = timed(
        lambda config: extract.fill(_planned(config), found, Stopwatch(), silent),
        setup=lambda: (replace(config, store=tmp_path / str(next(fresh))),),
        rounds=3,
    )
    assert done.computed == len(done.images) == len(list(INPUTS.glob("photographs/*/*.jpg")))


def bench_extract_warm(timed: Timed, tmp_path: Path) -> None:
    """Time an extraction with a full store."""
    from transfer.data import dataset
    from transfer.features import extract
    from transfer.system.timer import Stopwatch

    def call() -> Any:
        found = dataset.find(INPUTS / "photographs", seed=0)
        return extract.extract(_planned(_config(tmp_path)), found, Stopwatch(), silent)

    call()
    assert timed(call, rounds=15).extraction.computed == 0


def bench_forward(timed: Timed) -> None:
    """Time forward passes."""
    _time_forward(timed, "eager", threads=1)


if find_spec("openvino"):

    def bench_forward_openvino(timed: Timed) -> None:
        """Time forward passes by OpenVINO."""
        _time_forward(timed, "openvino", threads=1)


if len(CORES) > 1:

    def bench_forward_two_threads(timed: Timed, two_cores: None) -> None:
        """Time forward passes in two threads, each on a core of its own."""
        _time_forward(timed, "eager", threads=2)


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Lift the restriction to one core; torch gets two threads."""
    import torch

    pinned = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if pinned:
        os.sched_setaffinity(0, CORES)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)
    if pinned:
        os.sched_setaffinity(0, pinned)


def _time_forward(timed: Timed, name: str, threads: int) -> None:
    engine = _engine(name, threads)
    x_NHW3 = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), np.uint8)
    assert np.isfinite(timed(lambda: engine.submit(x_NHW3)(), rounds=11)).all()


@cache
def _engine(name: str, threads: int) -> Any:
    """Build an engine, once for all parts: OpenVINO converts for a second."""
    from transfer import engines
    from transfer.backbones import networks, weights

    network = networks.build("resnet18", weights.load(INPUTS / "weights.safetensors"))
    plan = engines.Plan(engine=name, precision="fp32", device="cpu", threads=threads, batch=4)
    return engines.build(network, plan, SIZE, None)


@pytest.mark.parametrize("name", ["fc", "svm", "ridge", "logreg", "knn"])
def bench_fit(timed: Timed, rows: Rows, name: str) -> None:
    """Time the search of a method."""
    from transfer.heads.registry import METHODS

    search = timed(
        lambda search: search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid),
        setup=lambda: (METHODS[name].build(_config(Path())),),
        rounds={"logreg": 3, "svm": 5}.get(name, 25),
    )
    assert (search.predict(rows.x_test) == rows.y_test).mean() > 0.4


@pytest.mark.parametrize("name", ["fc", "svm-lab", "knn"])
def bench_predict(timed: Timed, rows: Rows, name: str) -> None:
    """Time predictions."""
    from transfer.heads.registry import METHODS

    search = METHODS[name].build(_config(Path()))
    search.fit(rows.x_train, rows.y_train, rows.x_valid, rows.y_valid)
    # A call of the last layer takes a tenth of a millisecond, too short for one call to be timed reliably.
    calls = 50 if name == "fc" else 1
    predicted = timed(lambda: [search.predict(rows.x_test) for _ in range(calls)], rounds=25)
    assert (predicted[-1] == rows.y_test).mean() > 0.4


def bench_score(timed: Timed) -> None:
    """Time scores with their intervals."""
    from transfer.evaluation.statistics import score

    rng = np.random.default_rng(0)
    y_N = rng.integers(0, 16, 1324)
    predicted_N = np.where(rng.random(len(y_N)) < 0.8, y_N, rng.integers(0, 16, len(y_N)))
    names = [f"class {c}" for c in range(16)]
    scored = timed(lambda: [score(y_N, predicted_N, names) for _ in range(5)], rounds=5)
    assert 0.7 < scored[0]["accuracy"] < 0.9


# Controls: what no revision of ours can make faster or slower. If they moved, something else did. A fifth of a second
# each: shorter ones move by chance.


def bench_control_product(timed: Timed) -> None:
    """Time a matrix product."""
    import torch

    x_NN = torch.rand(640, 640, generator=torch.Generator().manual_seed(0))
    assert timed(lambda: x_NN @ x_NN, rounds=30).shape == (640, 640)


def bench_control_sort(timed: Timed) -> None:
    """Time a sort."""
    x_N = np.random.default_rng(0).random(2_000_000)
    assert (np.diff(timed(lambda: np.sort(x_N), rounds=25)) >= 0).all()


def bench_control_python(timed: Timed) -> None:
    """Time a loop in Python."""

    def loop() -> (
        int
    ):  # integers alone: what lies where in memory makes dictionaries a tenth slower or faster
        total = 0
        for i in range(100_000):
            total += i * i % 7
        return total

    assert timed(loop, rounds=25) == sum(i * i % 7 for i in range(100_000))


def _planned(config: Any) -> Any:
    """Return the plan of a configuration; the configuration itself where an older revision plans while it extracts."""
    try:
        from transfer.features.plan import plan_extraction
    except ImportError:
        return config
    return plan_extraction(config)


def _config(store: Path) -> Any:
    from transfer.config import RunConfig

    return RunConfig(
        data=str(INPUTS / "photographs"),
        weights=str(INPUTS / "weights.safetensors"),
        backbone="resnet18",
        size=SIZE,
        engine="eager",
        precision="fp32",
        device="cpu",
        store=store,
    )
