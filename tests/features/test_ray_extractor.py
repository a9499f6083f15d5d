"""Features computed on a Ray cluster of this machine: the same as without it, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.refusals import refusal
from transfer.cache import shards
from transfer.cache.feature_table import FeatureTable
from transfer.config import RunConfig
from transfer.data import dataset
from transfer.evaluation import experiment
from transfer.features import extractor
from transfer.features.extract import Features, extract
from transfer.features.fill import Extraction, fill
from transfer.features.plan import plan_extraction
from transfer.features.ray_schedule import TRIES
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own, of many kinds
SETTINGS = {"backbone": "resnet18", "weights": "random", "device": "cpu", "size": (64, 208)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores; whoever is connected to one uses it, and leaves it."""
    ray = pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets are short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=2**28,
            _temp_dir=folder,
            log_to_driver=False,
        )
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """132 noisy images of 240x800 and three copies in two classes; no whole number of batches."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 48), ("valid", 9), ("test", 9)):
        for name in ("boat", "water"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(0, 255, (30, 100, 3), np.uint8)
                Image.fromarray(noise).resize((800, 240)).save(folder / f"{i}.jpg")
    for i in range(3):
        shutil.copy(root / "train/boat" / f"{i}.jpg", root / "train/boat" / f"copy{i}.jpg")
    return root


@pytest.fixture(scope="module")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Features]:
    """The store of a run without Ray, and its features."""
    store = tmp_path_factory.mktemp("local")
    return store, gathered(photos, store)


def config(photos: Path, store: Path, **settings: Any) -> RunConfig:
    given = {"engine": "eager", "precision": "fp32", **SETTINGS, **settings}
    return RunConfig(data=str(photos), store=store, **given)


def on_ray(photos: Path, store: Path, on_progress: Any = silent, **settings: Any) -> Extraction:
    plan = plan_extraction(config(photos, store, on="ray", **{"workers": 2, **settings}))
    return fill(plan, dataset.find(photos), Stopwatch(), on_progress)


def gathered(photos: Path, store: Path, **settings: Any) -> Features:
    plan = plan_extraction(config(photos, store, **settings))
    return extract(plan, dataset.find(photos), Stopwatch(), silent)


def weights_of(local: tuple[Path, Features], store: Path) -> Path:
    """A store that has the untrained weights of another and no features."""
    shutil.copytree(local[0] / "weights", store / "weights")
    return store


def kept(store: Path) -> list[str]:
    """The ids of all rows in all shards of the one table."""
    (folder,) = (store / "features").iterdir()
    return [one.tobytes().hex() for _, ids_N32 in shards.described(folder) for one in ids_N32]


def at_work() -> list[psutil.Process]:
    """Workers that do something."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::Worker.call" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.parametrize("engine", ["eager", "openvino"])
def test_features_are_those_of_a_local_run_to_the_last_bit(
    cluster: None, photos: Path, local: tuple[Path, Features], tmp_path: Path, engine: str
) -> None:
    expected = local[1] if engine == "eager" else gathered(photos, local[0], engine=engine)
    store = weights_of(local, tmp_path)
    found = on_ray(photos, store, engine=engine)
    assert (found.computed, found.reused, found.workers) == (132, 3, 2)
    assert found.table.key == expected.extraction.table.key
    np.testing.assert_array_equal(found.table.gather(found.images.ids_N32), expected.x_ND)
    again = on_ray(photos, store, engine=engine)
    assert (again.computed, again.reused) == (0, 135)
    here = gathered(photos, store, engine=engine)
    assert here.extraction.computed == 0


def test_what_was_computed_before_is_not_computed_again(
    cluster: None, photos: Path, local: tuple[Path, Features], tmp_path: Path
) -> None:
    store = weights_of(local, tmp_path)
    plan, found = plan_extraction(config(photos, store)), dataset.find(photos)
    fill(plan, found, Stopwatch(), silent, rows=np.arange(0, 40))
    assert on_ray(photos, store).computed == 132 - 40


def test_ten_workers_are_killed_and_no_row_is_missing_or_there_twice(
    cluster: None,
    photos: Path,
    local: tuple[Path, Features],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FeatureTable, "merge", lambda self: None)  # which would hide what is there twice
    killed: list[int] = []

    def kill(phase: str, done: int, *_: object) -> None:
        # At each unit that is done, one that is under way loses its worker.
        if phase == "extract" and done and len(killed) < 10:
            for process in at_work()[:1]:
                process.kill()
                killed.append(process.pid)

    store = weights_of(local, tmp_path)
    found = on_ray(photos, store, kill, size=None)  # as large as they are: units that take a while
    assert len(set(killed)) == 10
    assert sorted(kept(store)) == sorted({one.id for one in found.images})
    expected = gathered(photos, local[0], size=None)
    np.testing.assert_array_equal(found.table.gather(found.images.ids_N32), expected.x_ND)


def test_a_unit_that_kills_its_worker_each_time_ends_the_run_and_all_others_are_kept(
    cluster: None,
    photos: Path,
    local: tuple[Path, Features],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = weights_of(local, tmp_path)

    def kill(phase: str, done: int, total: int, *_: object) -> None:
        if phase == "extract" and done:
            deadline = time.monotonic() + 60
            while total - done <= 8 and time.monotonic() < deadline and not killer.poll():
                for process in at_work():
                    process.kill()
                break

    killer = subprocess.Popen([sys.executable, "-c", "pass"])
    killer.wait()
    message = refusal(on_ray, photos, store, kill, workers=1)
    assert message
