"""A run killed at any moment: the next one goes on, and nothing is computed twice."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.trials import children

EACH = 8
# Before the shards of all batches, of eight images each, are merged, with the weights and what is said of them.
FILES = 4 * children.CLASSES * EACH // 8 + 2
AT_ONCE = 2


def kills(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` runs killed at random moments; the next on the same store is killed as well, or may end."""
    images = children.make_images(folder / "images", each=EACH)
    children.complete(children.features, folder, folder / "calm", folder / "calm")
    calm = (folder / "calm.npy").read_bytes()
    rng, lock, met = random.Random(seed), threading.Lock(), Counter[str]()

    def case(number: int) -> None:
        own = folder / f"killed-{number % AT_ONCE}-{threading.get_ident()}"
        store, out = own / "store", own / "out"
        own.mkdir(exist_ok=True)
        shutil.rmtree(store, ignore_errors=True)
        before: set[str] = set()
        for kill in itertools.count():
            with lock:
                if met["cases"] == count or (kill and rng.random() < 0.5):
                    break
                # Clocks tell little of how far a process has come on a busy machine; what it wrote does.
                after, more_s = rng.uniform(_written(store) - 2, FILES), rng.uniform(0, 0.02)
                met["cases"] += 1
            words = ["extract", *children.words(folder, store)]
            process = children.start(children.command, words, own / "outcome")
            while children.status(process) is None and _written(store) < after:
                time.sleep(0.001)
            time.sleep(more_s)
            process.kill()
            status = children.ended(process)
            held = children.committed(store)
            assert before <= held, "rows that were committed are gone"
            with lock:
                met["in time" if status == -9 else "too late"] += 1
                met["none done" if not held else "all done" if len(held) == images else "some done"] += 1
            before = held
        children.complete(children.features, folder, store, out)
        counts = json.loads(out.with_suffix(".json").read_text())
        assert counts == {"computed": images - len(before), "reused": len(before), "damaged": 0}, counts
        assert out.with_suffix(".npy").read_bytes() == calm, (
            "features differ from those of an undisturbed run"
        )
        with lock:
            met["runs to the end"] += 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while met["cases"] < count:
            list(pool.map(case, range(AT_ONCE)))
    return met


def _written(store: Path) -> int:
    """How many files a store has."""
    return sum(1 for path in store.rglob("*") if path.is_file())
