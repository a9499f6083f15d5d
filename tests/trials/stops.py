"""Ctrl-C and SIGTERM at any moment of a run: it ends at once, with one line, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path

from tests.trials import children
from transfer.cache import inventory
from transfer.system import signals

EACH = 8
# Two seconds are promised; a machine that does other things as well may take longer to begin, and for a whole run.
LIMIT_S, LIMIT_RUNS = 10.0, 5


def stops(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` runs stopped at random moments; how they ended, and how long the slowest took to."""
    images = children.make_images(folder / "images", each=EACH)
    words = ["run", *children.words(folder, folder / "store"), "--methods=fc,svm"]
    children.complete(children.features, folder, folder / "calm", folder / "calm")
    taken_s = []
    for _ in range(3):
        shutil.rmtree(folder / "store", ignore_errors=True)
        start = time.perf_counter()
        children.complete(children.command, words, folder / "outcome")
        taken_s.append(time.perf_counter() - start)
    whole_s, rng, met = min(taken_s), random.Random(seed), Counter[str]()
    for case in range(count):
        shutil.rmtree(folder / "store", ignore_errors=True)
        (folder / "outcome").unlink(missing_ok=True)
        process = children.start(children.stopped, words, folder / "outcome", folder / "ready")
        while process.is_alive() and not (folder / "ready").exists():
            time.sleep(0.001)
        (folder / "ready").unlink(missing_ok=True)
        time.sleep(rng.uniform(0, whole_s))
        number, start = signals.SIGNALS[case % len(signals.SIGNALS)], time.perf_counter()
        assert process.pid
        with contextlib.suppress(ProcessLookupError):  # done already
            os.kill(process.pid, number)
        status, seconds = children.ended(process), time.perf_counter() - start
        met["cases"] += 1
        if status:
            stderr = (folder / "outcome").read_text()
            assert status == signals.INTERRUPTED, f"status {status}: {stderr}"
            assert stderr == f"transfer: {signals.INTERRUPTED_MESSAGE}\n", stderr
            met[number.name] += 1
            met["slowest_ms"] = max(met["slowest_ms"], round(1000 * seconds))
            assert seconds < max(LIMIT_S, LIMIT_RUNS * whole_s), f"{seconds:.1f} s"
        else:
            met["too late"] += 1
        store = folder / "store"
        held = children.committed(store)
        # It may be stopped before there is one.
        entries = inventory.list_entries(store) if store.is_dir() else []
        assert [fault for entry in entries for fault in inventory.find_faults(entry)] == []
        children.complete(children.features, folder, store, folder / "after")
        found = json.loads((folder / "after.json").read_text())
        assert found == {"computed": images - len(held), "reused": len(held), "damaged": 0}, found
        assert (folder / "after.npy").read_bytes() == (folder / "calm.npy").read_bytes()
    return met
