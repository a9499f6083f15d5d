"""Profiles, machine, clock and fixtures of the benchmarks, and the words that every one of them is stored with.

A round begins with garbage collected and threads at rest, after a warm-up: files are in the system's cache and
networks in memory. Ways of one operation (pytest-benchmark's `group`) run one after the other, references last.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from bench import features, ways
from bench.features import Rows
from bench.photographs import draw
from transfer import engines, environment, timing
from transfer.config import RunConfig

# What is kept beside the times: of every benchmark, and where it applies.
ALWAYS: dict[str, type] = {"way": str, "reference": bool, "device": str, "threads": int}
SOMETIMES: dict[str, type] = {
    "method": str,
    "network": str,
    "precision": str,
    "batch": int,
    "images": int,
    "shape": list,
    "scaled_by": float,
    "accuracy": float,
    "macro_f1": float,
    "cosine": float,
}
# One of them shows that the answer was right; a part of the work, scaled up, has no answer.
SHOWN_BY = {"accuracy", "cosine", "scaled_by"}
# OpenBLAS's threads spin after a product in wait for the next, and take the cores from whatever other library
# comes then: a Cholesky factor by SciPy took 0.78 s right after a product by NumPy, 0.27 s after 0.05 s of
# rest, 0.03 s after 0.1 s, 0.02 s after 0.2 s (medians, 2 cores).
REST_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How much is timed."""

    rounds: int
    images: int
    """Photographs of 240x800 that a processor extracts in a round."""
    images_cuda: int
    """Those that a GPU extracts: its batches have 128 images, and are padded where fewer are left."""
    labelled: tuple[int, int, int]
    """Training, validation and test photographs of each of four classes, for whole runs."""
    rows: int
    """Training rows of the synthetic features; a tenth as many validate, three eighths are predicted."""
    backbone: str
    long_setups: bool
    """Whether engines that compile for half a minute are timed, and runs that try engines out."""
    batches: tuple[int, ...] = ()
    """Sizes of batch that forward passes are timed at beside an engine's own."""


PROFILES = {
    # `quick` shows that every benchmark runs and is right; its times mean nothing.
    "quick": Profile(
        rounds=1, images=8, images_cuda=8, labelled=(4, 2, 4), rows=300, backbone="resnet18", long_setups=True
    ),
    "fast": Profile(
        rounds=3,
        images=16,
        images_cuda=256,
        labelled=(6, 2, 4),
        rows=1024,
        backbone="resnet50",
        long_setups=False,
    ),
    "full": Profile(
        rounds=7,
        images=64,
        images_cuda=512,
        labelled=(20, 5, 10),
        rows=3474,
        backbone="resnet50",
        long_setups=True,
        batches=(1, 32),
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--profile", choices=PROFILES, default="fast", help="how much is timed (fast)")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Our own record of the machine; pytest-benchmark's names the host."""
    machine_info.clear()
    machine_info.update(environment.describe())


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    """The commit; where it was checked out says nothing."""
    for name in ("project", "branch"):
        commit_info.pop(name, None)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Times of different profiles are of different work."""
    output_json["profile"] = config.getoption("--profile")


def on_cuda() -> float:
    """Seconds on the clock of `timing`, read once the GPU has done what was queued."""
    return timing.now("cuda")


CLOCKS = {"cpu": timing.now, "cuda": on_cuda}


def device_of(item: Any) -> str:
    """The parameter `device` of a benchmark; those without one run on the processor."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("device", "cpu")) if callspec else "cpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each benchmark the clock of its device, and set ways of one operation beside each other."""
    places: dict[str, int] = {}
    place: dict[pytest.Item, int] = {}
    for item in items:
        marker = item.get_closest_marker("benchmark")
        options = marker.kwargs if marker else {}
        if "benchmark" in getattr(item, "fixturenames", ()):
            timed = pytest.mark.benchmark(**options, timer=CLOCKS[device_of(item)])
            item.add_marker(timed, append=False)
        place[item] = places.setdefault(options.get("group", item.nodeid), len(places))
    items.sort(key=place.__getitem__)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if device_of(item) == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A benchmark whose answer is wrong, or that is not stored with the words of all, leaves no time behind."""
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    try:
        yield
        if benchmark:
            check(benchmark.group, benchmark.extra_info)
    except BaseException:
        if benchmark:
            benchmark.has_error = True
        raise


def check(group: str | None, info: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless a benchmark has an operation and is stored with the words of all."""
    if not group:
        raise ValueError("the benchmark has no group: mark it with its operation")
    missing, unknown = ALWAYS.keys() - info.keys(), info.keys() - ALWAYS.keys() - SOMETIMES.keys()
    if missing or unknown:
        raise ValueError(f"extra_info lacks {sorted(missing)} and has unknown {sorted(unknown)}")
    kinds = ALWAYS | SOMETIMES
    wrong = [word for word, value in info.items() if not isinstance(value, kinds[word])]
    if wrong:
        raise ValueError(f"extra_info has values of a wrong kind for {wrong}")
    if not SHOWN_BY & info.keys():
        raise ValueError(f"nothing shows that the answer was right: store one of {sorted(SHOWN_BY)}")


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Iterator[Profile]:
    torch.set_num_threads(environment.usable_cores())
    gc.freeze()  # what libraries made stays; without it a collection before each round takes 0.13 s
    yield PROFILES[request.config.getoption("--profile")]
    gc.unfreeze()  # else they tell of leaks at exit


@pytest.fixture(scope="session")
def rows(profile: Profile) -> Rows:
    """Synthetic features of ResNet50's width, the same every time."""
    return features.synthetic(profile.rows, profile.rows // 10, profile.rows * 3 // 8)


@pytest.fixture(scope="session")
def photographs(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder of class folders with photographs of lagoon, as many as a device is timed with."""

    @cache
    def drawn(device: str) -> Path:
        root = tmp_path_factory.mktemp("photographs")
        for i in range(profile.images_cuda if device == "cuda" else profile.images):
            draw(root, ("Mototopo", "VaporettoACTV")[i % 2], i, seed=i)
        return root

    return drawn


@pytest.fixture(scope="session")
def labelled(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of lagoon in train/ valid/ test/ of four classes."""
    return ways.draw_splits(tmp_path_factory.mktemp("labelled"), profile.labelled)


@pytest.fixture(scope="session")
def untrained(profile: Profile, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file: making untrained weights takes seconds, and is no part of anything that is timed."""
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    files = sorted((labelled / "train").glob("*/*.jpg"))[:: profile.labelled[0] // 4]
    ways.save_untrained(profile.backbone, np.stack([np.asarray(Image.open(file)) for file in files]), path)
    return path


@pytest.fixture(scope="session")
def config(profile: Profile, labelled: Path, untrained: Path) -> Callable[..., RunConfig]:
    """A function that gives a whole run on those photographs: its engine (`usual` or `auto`), device and store."""

    def of(engine: str, device: str, store: Path) -> RunConfig:
        precision = "auto"
        if engine == "usual":
            engine = "openvino" if device == "cpu" and find_spec("openvino") else "eager"
            precision = engines.options(engine, "auto", device)[-1].precision
        return RunConfig(
            data=str(labelled),
            backbone=profile.backbone,
            weights=str(untrained),
            size=ways.SIZE,
            device=device,
            engine=engine,
            precision=precision,
            store=store,
        )

    return of


@pytest.fixture
def timed(request: pytest.FixtureRequest, benchmark: Any, profile: Profile) -> Callable[..., Any]:
    """A function that times a call: a warm-up apart, then the profile's rounds; the last result comes back.

    `setup` makes the arguments of each round anew. What takes seconds and is no way of ours may have `at_most` so
    many rounds and a `warm_up` of its own, on less. Further words are kept beside the times.
    """
    device = device_of(request.node)

    def time_(
        call: Callable[..., Any],
        *,
        way: str,
        reference: bool = False,
        setup: Callable[[], Any] | None = None,
        warm_up: Callable[[], Any] | None = None,
        at_most: int | None = None,
        **more: Any,
    ) -> Any:
        def ready() -> Any:
            arguments = setup() if setup else None
            rest()
            return arguments

        benchmark.extra_info.update(
            way=way, reference=reference, device=device, threads=torch.get_num_threads(), **more
        )
        warm = profile.rounds > 1
        if warm and warm_up:
            warm_up()
        return benchmark.pedantic(
            call,
            setup=ready,
            rounds=min(profile.rounds, at_most or profile.rounds),
            warmup_rounds=int(warm and not warm_up),
        )

    return time_


def rest() -> None:
    """What came before is no part of what comes next: garbage is collected, and spinning threads come to rest."""
    gc.collect()
    time.sleep(REST_S)


def judge(benchmark: Any, y_N: Any, told_N: Any, *, least: float) -> None:
    """Keep accuracy and macro F1 on test rows beside the times; `AssertionError` where under `least` are right."""
    accuracy = float(accuracy_score(y_N, told_N))
    macro_f1 = float(f1_score(y_N, told_N, average="macro", zero_division=0))
    benchmark.extra_info.update(accuracy=accuracy, macro_f1=macro_f1)
    assert accuracy > least
