"""Machine, clock and fixtures of the benchmarks.

A test is an operation (pytest-benchmark's `group`) on a device. It adds the ways of doing it, ours and the references,
and these are timed in turn (`bench.operation`, `bench.turns`), with files in the system's cache, networks in memory
and a pause before every round.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from bench import features, ways
from bench.features import Rows
from bench.operation import Operation
from bench.profiles import PROFILES, Profile
from bench.synthetic_images import draw
from transfer.config import RunConfig
from transfer.evaluation import experiment
from transfer.evaluation.results import Result
from transfer.features.extractor import FeatureExtractor
from transfer.system import hardware, timer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--profile`."""
    parser.addoption("--profile", choices=PROFILES, default="fast", help="how much is timed (fast)")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Replace the record of the machine by our own: pytest-benchmark's contains the host name."""
    machine_info.clear()
    machine_info.update(hardware.describe())


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    """Keep the commit only; where it was checked out does not matter."""
    for name in ("project", "branch"):
        commit_info.pop(name, None)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Record the profile, since times of different profiles are of different work, and what was skipped or failed."""
    output_json["profile"] = config.getoption("--profile")
    output_json["skipped"] = dict(config.stash[SKIPPED].reasons)


LONGEST = 200  # of the reasons that are kept


class Skipped:
    """The number of tests and ways that were skipped, or that failed, by reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a skipped or failed test or subtest."""
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
        crash = getattr(
            report.longrepr, "reprcrash", None
        )  # a test of which subtests failed has none of its own
        if report.failed and crash:
            name = getattr(getattr(report, "context", None), "msg", None) or report.nodeid.rpartition("::")[2]
            self.reasons[f"{name} failed: {crash.message.partition(chr(10))[0]}"[:LONGEST]] += 1


SKIPPED = pytest.StashKey[Skipped]()


def pytest_configure(config: pytest.Config) -> None:
    """Count what is skipped."""
    config.stash[SKIPPED] = Skipped()
    config.pluginmanager.register(config.stash[SKIPPED])


def on_cuda() -> float:
    """Return seconds on the clock of `timer`, read once the GPU has done what was queued."""
    return timer.now("cuda")


CLOCKS = {"cpu": timer.now, "cuda": on_cuda}


def device_of(item: Any) -> str:
    """Return the parameter `device` of a benchmark; those without one run on the processor."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("device", "cpu")) if callspec else "cpu"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what can't be timed on this machine."""
    if device_of(item) == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Iterator[Profile]:
    """Yield the profile that was asked for."""
    torch.set_num_threads(hardware.usable_cores())
    gc.freeze()  # what libraries made stays; without it a collection before each round takes 0.13 s
    yield PROFILES[request.config.getoption("--profile")]
    gc.unfreeze()  # otherwise they report leaks at exit


@pytest.fixture
def operation(
    request: pytest.FixtureRequest, benchmark: Any, subtests: pytest.Subtests, profile: Profile
) -> Operation:
    """Return the operation of a test, to which its ways are added."""
    device = device_of(request.node)
    return Operation(
        benchmark,
        subtests,
        device=device,
        rounds=profile.rounds,
        more_s=profile.more_s,
        clock=CLOCKS[device],
    )


@pytest.fixture(scope="session")
def rows(profile: Profile) -> Rows:
    """Return synthetic features of ResNet50's width, the same every time."""
    return features.synthetic(profile.rows, profile.rows // 10, profile.rows * 3 // 8)


@pytest.fixture(scope="session")
def photographs(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives a folder of class folders with the built-in photographs for a device."""

    @cache
    def drawn(device: str) -> Path:
        root = tmp_path_factory.mktemp("photographs")
        for i in range(profile.images_cuda if device == "cuda" else profile.images):
            draw(root, ("Mototopo", "VaporettoACTV")[i % 2], i, seed=i)
        return root

    return drawn


@pytest.fixture(scope="session")
def labelled(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with built-in photographs in train/ valid/ test/ of four classes."""
    return ways.draw_splits(tmp_path_factory.mktemp("labelled"), profile.labelled)


@pytest.fixture(scope="session")
def untrained(profile: Profile, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file: making untrained weights takes seconds, and is not part of anything that is timed."""
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    files = sorted((labelled / "train").glob("*/*.jpg"))[:: max(1, profile.labelled[0] // 4)]
    ways.save_untrained(profile.backbone, np.stack([np.asarray(Image.open(file)) for file in files]), path)
    return path


@pytest.fixture(scope="session")
def opened(
    profile: Profile,
    photographs: Callable[[str], Path],
    untrained: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], FeatureExtractor]]:
    """Return a function that gives an untrained network for the photographs that a device is timed with."""
    with ExitStack() as stack:

        @cache
        def for_device(device: str) -> FeatureExtractor:
            work = tmp_path_factory.mktemp("frozen")
            return stack.enter_context(ways.opened(photographs(device), work, profile.backbone, untrained))

        yield for_device


@pytest.fixture(scope="session")
def config(profile: Profile, labelled: Path, untrained: Path) -> Callable[..., RunConfig]:
    """Return a function that configures a whole run on those photographs: engine (`usual` or `auto`), device, store."""

    def of(engine: str, device: str, store: Path) -> RunConfig:
        plan = ways.usual_plan(device)
        return RunConfig(
            data=str(labelled),
            backbone=profile.backbone,
            weights=str(untrained),
            size=ways.SIZE,
            device=device,
            engine=plan.engine if engine == "usual" else engine,
            precision=plan.precision if engine == "usual" else "auto",
            store=store,
        )

    return of


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """A run with an empty store, and what it has left."""

    result: Result
    store: Path
    models: Path

    def accuracy(self, method: str) -> float:
        """Return the accuracy of a method on the test images, as the run reported it."""
        accuracy: float = self.result.method(method)["test"]["accuracy"]
        return accuracy


@pytest.fixture(scope="session")
def first_run(
    config: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], FirstRun]:
    """Return a function that gives the first run on a device: its models predict, its store is full."""

    @cache
    def on(device: str) -> FirstRun:
        work = tmp_path_factory.mktemp("first_run")
        store, models = work / "store", work / "models"
        return FirstRun(
            result=experiment.run(config("usual", device, store), models=models), store=store, models=models
        )

    return on


def judge(y_N: Any, predicted_N: Any, *, least: float) -> dict[str, float]:
    """Return accuracy and macro F1 of predictions; fail unless more than `least` of them are right."""
    accuracy = float(accuracy_score(y_N, predicted_N))
    assert accuracy > least
    macro_f1 = float(f1_score(y_N, predicted_N, average="macro", zero_division=0))
    return {"accuracy": accuracy, "macro_f1": macro_f1}
