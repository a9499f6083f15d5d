"""Profiles, machine and fixtures of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import features
from bench.features import Rows
from transfer import environment, lagoon


@dataclass(frozen=True)
class Profile:
    """How much is timed."""

    rounds: int
    images: int
    """Photographs of 240x800 that are extracted in a round."""
    rows: int
    """Training rows of the synthetic features; a tenth as many validate, three eighths are predicted."""
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
    return features.synthetic(profile.rows, profile.rows // 10, profile.rows * 3 // 8)


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
