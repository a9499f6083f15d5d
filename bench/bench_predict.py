"""A saved model at work: one image file to its label, and all test images to theirs.

Models are loaded and have run once before the clock starts; files are in the system's cache. One image goes through
the network alone; many go in batches of the size that features were computed with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench import references
from bench.conftest import Profile, judge
from bench.references import label_loop
from bench.ways import SIZE
from transfer import backbone, experiment, model, weights
from transfer.config import RunConfig
from transfer.engines import BATCH
from transfer.model import Model
from transfer.results import Result

ONE = pytest.mark.benchmark(group="predict, one file to its label")
MANY = pytest.mark.benchmark(group="predict, files to labels")
PREDICTED = ("fc", "svm")
LEAST = 0.25  # more of the test images are told right than by chance
each_method = pytest.mark.parametrize("method", PREDICTED)
each_device = pytest.mark.parametrize("device", ["cpu", "cuda"])


@dataclass(frozen=True)
class Run:
    """A run whose models were kept in a folder."""

    result: Result
    models: Path

    def accuracy(self, method: str) -> float:
        """On the test images, as the run had it."""
        entry = next(entry for entry in self.result.methods if entry["name"] == method)
        accuracy: float = entry["test"]["accuracy"]
        return accuracy


@pytest.fixture(scope="module")
def runs(config: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """The run on a device, with `PREDICTED` for methods."""

    @cache
    def on(device: str) -> Run:
        work = tmp_path_factory.mktemp("models")
        told = replace(config("usual", device, work / "store"), methods=PREDICTED)
        return Run(experiment.run(told, models=work / "models"), work / "models")

    return on


@pytest.fixture(scope="module")
def load(runs: Callable[[str], Run]) -> Callable[..., Model]:
    """A function that loads the model of a method on a device, each once."""

    @cache
    def loaded(method: str, device: str, batch: int = 1) -> Model:
        return model.load(runs(device).models, method=method, device=device, batch=batch)

    return loaded


@pytest.fixture(scope="module")
def files(labelled: Path) -> list[Path]:
    """The test images; the folder of each is its label."""
    return sorted((labelled / "test").glob("*/*.jpg"))


@ONE
@each_method
@each_device
def bench_one(
    timed: Callable[..., Any],
    benchmark: Any,
    profile: Profile,
    load: Callable[..., Model],
    files: list[Path],
    method: str,
    device: str,
) -> None:
    loaded = load(method, device)
    found = timed(
        lambda: loaded.predict(files[:1]),
        way=method,
        method=method,
        precision=loaded.plan.precision,
        batch=1,
        images=1,
        shape=list(SIZE),
        network=profile.backbone,
    )
    told = [one.label for one in loaded.predict(files)]
    assert [one.label for one in found] == told[:1]
    judge(benchmark, [path.parent.name for path in files], told, least=LEAST)


@MANY
@each_method
@each_device
def bench_many(
    timed: Callable[..., Any],
    benchmark: Any,
    profile: Profile,
    runs: Callable[[str], Run],
    load: Callable[..., Model],
    files: list[Path],
    method: str,
    device: str,
) -> None:
    run, loaded = runs(device), load(method, device, min(BATCH[device], len(files)))
    found = timed(
        lambda: loaded.predict(files),
        way=method,
        method=method,
        precision=loaded.plan.precision,
        batch=loaded.plan.batch,
        images=len(files),
        shape=list(SIZE),
        network=profile.backbone,
    )
    assert [one.path for one in found] == files
    judge(benchmark, [path.parent.name for path in files], [one.label for one in found], least=LEAST)
    # In other company an image's last bits may move, and with them a label that was all but another.
    assert benchmark.extra_info["accuracy"] == pytest.approx(run.accuracy(method), abs=1.1 / len(files))


@pytest.mark.parametrize("count", [pytest.param(1, marks=ONE), pytest.param(None, marks=MANY)])
@each_device
def bench_label_loop(
    timed: Callable[..., Any],
    benchmark: Any,
    profile: Profile,
    load: Callable[..., Model],
    untrained: Path,
    files: list[Path],
    count: int | None,
    device: str,
) -> None:
    """With the last layer for a head."""
    body = backbone.build(profile.backbone, weights.load(untrained)).to(device)
    loaded = load("fc", device)
    told = timed(
        lambda: label_loop.predict(files[:count], body, loaded.head, SIZE, device),
        way="eager loop",
        reference=True,
        precision="fp32" if device == "cpu" else "tf32",  # torch's default for convolutions there
        batch=min(references.BATCH, len(files[:count])),
        images=len(files[:count]),
        shape=list(SIZE),
        network=profile.backbone,
        warm_up=lambda: label_loop.predict(files[:1], body, loaded.head, SIZE, device),
        at_most=2 if count is None else None,
    )
    every = label_loop.predict(files, body, loaded.head, SIZE, device) if count else told
    assert told == every[:count]
    judge(benchmark, [path.parent.name for path in files], [loaded.classes[i] for i in every], least=LEAST)
