"""A run that trains blocks, killed while maps are filled and while it trains: the next ends in the same weights."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.trials import children

EACH = 8
Seen = set[tuple[Path, int]]


def trainings(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` runs killed at random moments, each of which the next one on the same store continues."""
    children.make_images(folder / "images", each=EACH)
    calm, seen = folder / "calm", Seen()
    process = _start(folder, calm)
    while children.status(process) is None:
        seen |= _written(calm)
    assert children.ended(process) == 0
    rng, met, store = random.Random(seed), Counter[str](), folder / "killed"
    while met["cases"] < count:
        before = children.committed(store)
        process, own = _start(folder, store), _written(store)
        after = len(own) + rng.randint(1, len(seen) // 2)
        while children.status(process) is None and len(own) < after:
            own |= _written(store)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        met["cases"] += 1
        status = children.ended(process)
        assert before <= children.committed(store), "rows that were committed are gone"
        if status == -9:
            met[_phase(store)] += 1
            continue
        assert status == 0
        _check(store, calm)
        shutil.rmtree(store)
        met["runs to the end"] += 1
    children.complete(children.command, _words(folder, store), store.with_suffix(".outcome"))
    _check(store, calm)
    return met


def _start(folder: Path, store: Path) -> BaseProcess:
    return children.start(children.command, _words(folder, store), store.with_suffix(".outcome"))


def _words(folder: Path, store: Path) -> list[str]:
    blocks = ["--unfreeze=features.12,features.11", "--views=3", "--epochs=4", "--methods=fc", "--repeats=0"]
    return ["run", *children.words(folder, store), *blocks]


def _written(store: Path) -> Seen:
    """What was written, one file more than once too: a checkpoint is replaced."""
    found = Seen()
    for path in store.rglob("*"):
        try:
            found.add((path, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def _phase(store: Path) -> str:
    if list(store.glob("finetuned/*/*")):
        return "while it trains"
    return "while maps are filled" if len(list(store.glob("features/*"))) > 1 else "before"


def _list(store: Path, name: str) -> list[str]:
    return sorted(str(path.relative_to(store)) for path in store.glob(f"finetuned/*/{name}"))


def _check(store: Path, calm: Path) -> None:
    """The trained weights are files named by the sha256 of their bytes."""
    weights = _list(calm, "*.safetensors")
    assert len(weights) == 4, "of two blocks, each with two learning rates"
    assert _list(store, "*.safetensors") == weights, "weights differ from those of an undisturbed run"
