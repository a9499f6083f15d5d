"""Profiles, machine and fixtures of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import make_classification

from transfer import environment, lagoon


@dataclass(frozen=True)
class Profile:
    """How much is timed."""

    rounds: int
    images: int
    """Photographs of 240x800 that are extracted in a round."""
    rows: int
    """Training rows of the synthetic features; a third as many are predicted."""
    backbone: str
    compile: bool
    """Whether engines that compile for half a minute are timed."""
    batches: tuple[int, ...] = ()
    """Sizes of batch that forward passes are timed at beside an engine's own."""


PROFILES = {
    # `quick` shows that every benchmark runs and is right; its times mean nothing.
    "quick": Profile(rounds=1, images=8, rows=300, backbone="resnet18", compile=True),
    "fast": Profile(rounds=3, images=16, rows=1024, backbone="resnet50", compile=False),
    "full": Profile(rounds=7, images=64, rows=3474, backbone="resnet50", compile=True, batches=(1, 32)),
}


@dataclass(frozen=True)
class Rows:
    """Features with labels in 16 unequal classes."""

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--profile", choices=PROFILES, default="fast", help="how much is timed (fast)")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Our own record of the machine; pytest-benchmark's names the host."""
    machine_info.clear()
    machine_info.update(environment.describe())


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Profile:
    torch.set_num_threads(environment.usable_cores())
    return PROFILES[request.config.getoption("--profile")]


@pytest.fixture(scope="session")
def rows(profile: Profile) -> Rows:
    """Synthetic features of ResNet50's width, the same every time."""
    shares = np.array([854, 816, 790, 251, 193, 101, 100, 84, 76, 70, 63, 21, 19, 16, 11, 9], float)
    x_ND, y_N = make_classification(
        profile.rows * 4 // 3,
        2048,
        n_informative=200,
        n_redundant=600,
        n_classes=16,
        n_clusters_per_class=1,
        weights=shares / shares.sum(),
        class_sep=3,
        random_state=0,
    )
    x_ND, n = x_ND.astype(np.float32), profile.rows
    return Rows(x_ND[:n], y_N[:n], x_ND[n:], y_N[n:])


@pytest.fixture(scope="session")
def photographs(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders with photographs of lagoon."""
    root = tmp_path_factory.mktemp("photographs")
    for i in range(profile.images):
        name = ("Mototopo", "VaporettoACTV")[i % 2]
        (root / name).mkdir(exist_ok=True)
        lagoon.draw(name, np.random.default_rng(i)).save(root / name / f"{i}.jpg", quality=90)
    return root


@pytest.fixture
def timed(benchmark: Any, profile: Profile) -> Callable[..., Any]:
    """A function that times a call: a warm-up apart, then the profile's rounds; the last result comes back.

    `operation` and `way` say what is done and how; the summary sets ways of one operation against each other.
    Further words are kept beside the times.
    """

    def time(call: Callable[..., Any], *, operation: str, way: str, setup: Any = None, **more: Any) -> Any:
        benchmark.group = operation
        benchmark.extra_info.update(way=way, threads=torch.get_num_threads(), **more)
        warm_up = 0 if profile.rounds == 1 else 1
        return benchmark.pedantic(call, setup=setup, rounds=profile.rounds, warmup_rounds=warm_up)

    return time
