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
from transfer.features.extract import Features, extract
from transfer.features.fill import Extraction, fill
from transfer.features.plan import plan_extraction
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own, of many kinds
SETTINGS = {"backbone": "resnet18", "weights": "random", "device": "cpu", "size": (64, 208)}


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
    return [one.tobytes().hex() for _, ids_N32 in shards.read_headers(folder) for one in ids_N32]


def at_work() -> list[psutil.Process]:
    """Workers that do something."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::Worker.call" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.parametrize(("engine", "before"), [("eager", 40), ("openvino", 0)])
def test_features_are_those_of_a_local_run_to_the_last_bit_and_computed_once(
    cluster: None, photos: Path, local: tuple[Path, Features], tmp_path: Path, engine: str, before: int
) -> None:
    expected = local[1] if engine == "eager" else gathered(photos, local[0], engine=engine)
    store = weights_of(local, tmp_path)
    if before:
        plan = plan_extraction(config(photos, store, engine=engine))
        fill(plan, dataset.find(photos), Stopwatch(), silent, rows=np.arange(before))
    found = on_ray(photos, store, engine=engine)
    assert (found.computed, found.reused, found.workers) == (132 - before, 3 + before, 2)
    assert found.table.key == expected.extraction.table.key
    np.testing.assert_array_equal(found.table.gather(found.images.ids_N32), expected.x_ND)
    assert sorted(kept(store)) == sorted({one.id for one in found.images})
    here = gathered(photos, store, engine=engine)
    assert here.extraction.computed == 0


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
            until = time.monotonic() + 5  # on a busy machine one takes a while to begin, or to die
            while not (found := [one for one in at_work() if one.pid not in killed]):
                if time.monotonic() > until:
                    return
                time.sleep(0.01)
            found[0].kill()
            killed.append(found[0].pid)

    store = weights_of(local, tmp_path)
    found = on_ray(photos, store, kill, size=(120, 400))  # units that take a while
    assert len(killed) == 10
    assert sorted(kept(store)) == sorted({one.id for one in found.images})
    expected = gathered(photos, local[0], size=(120, 400))
    np.testing.assert_array_equal(found.table.gather(found.images.ids_N32), expected.x_ND)


def test_a_bad_image_ends_the_run_or_is_left_out_as_in_a_local_run(
    cluster: None, photos: Path, local: tuple[Path, Features], tmp_path: Path
) -> None:
    root, store = tmp_path / "photos", weights_of(local, tmp_path)
    shutil.copytree(photos, root)
    bad = root / "valid" / "water" / "8.jpg"
    bad.write_bytes(bad.read_bytes()[:-1000])
    message = refusal(on_ray, root, store)
    assert message == refusal(gathered, root, weights_of(local, tmp_path / "here"))
    rows = len(kept(store))
    assert 0 < rows < 131
    found = on_ray(root, store, on_bad_image="skip")
    assert found.skipped.keys() == {"valid/water/8.jpg"}
    assert (found.computed, len(found.images)) == (131 - rows, 134)


def test_a_run_goes_on_to_the_heads(
    cluster: None, photos: Path, local: tuple[Path, Features], tmp_path: Path
) -> None:
    settings = config(photos, weights_of(local, tmp_path), on="ray", methods=("ridge",), repeats=0)
    result = experiment.compare(settings, silent).result
    assert (result.engine["workers"], result.engine["threads"]) == (1, 2)
    assert result.features["images_per_s"] > 0
    assert [method["name"] for method in result.methods] == ["ridge"]


def test_a_run_that_is_interrupted_or_killed_leaves_nothing_running_and_goes_on(
    photos: Path, local: tuple[Path, Features], tmp_path: Path
) -> None:
    store = weights_of(local, tmp_path)
    words = ["extract", str(photos), "--on", "ray", "--workers", "1", "--store", str(store)]
    words += ["--backbone", "resnet18", "--weights", "random", "--size", "64x208", "--device", "cpu"]
    words += ["--engine", "eager", "--precision", "fp32"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "TMPDIR": tempfile.mkdtemp(prefix="t-", dir="/tmp")}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "transfer", *words],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def stop(number: signal.Signals, rows: int) -> int:
        run = start()
        until = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < until and len(kept_or_none(store)) <= rows:
            time.sleep(0.02)
        # Not the agents: of a raylet that is killed they report for a minute to a server that is gone too.
        processes = psutil.Process(run.pid).children(recursive=True)
        started = [one for one in processes if "Agent" not in " ".join(one.cmdline())]
        assert len(started) > 2
        run.send_signal(number)
        run.communicate(timeout=30)
        assert not psutil.wait_procs(started, timeout=30)[1]
        return run.returncode

    assert stop(signal.SIGTERM, 0) == 130
    rows = len(kept(store))
    assert stop(signal.SIGKILL, rows) == -signal.SIGKILL
    before = len(set(kept(store)))
    assert rows < before < 132
    run = start()
    printed, said = run.communicate(timeout=120)
    assert printed == f"{132 - before} images computed, {before + 3} already in {store}\n"
    assert all(line.startswith("transfer: ") for line in said.splitlines())
    assert len(kept(store)) == 132
    assert not (tmp_path / ".ray").exists()  # where Ray writes its token
    shutil.rmtree(environment["TMPDIR"])  # with the folder of Ray of the run that was killed


def kept_or_none(store: Path) -> list[str]:
    """The rows that are there by now."""
    return kept(store) if (store / "features").is_dir() and any((store / "features").iterdir()) else []
