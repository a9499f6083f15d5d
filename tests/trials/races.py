"""Processes that work on one store at once, while another prunes it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from tests.trials import children

PROCESSES, EACH = 4, 6


def races(rounds: int, seed: int, folder: Path, *, locks: bool) -> Counter[str]:
    """`rounds` times four processes on an empty store and one that prunes; with locks that work or do nothing."""
    children.make_images(folder / "images", each=EACH, seed=seed)
    children.complete(children.features, folder, folder / "calm", folder / "calm")
    calm, met = (folder / "calm.npy").read_bytes(), Counter[str]()
    for _ in range(rounds):
        store, outs = folder / "store", [folder / f"out{i}" for i in range(PROCESSES)]
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir()
        begin = children.CONTEXT.Barrier(PROCESSES + 1)
        running = [children.start(_features, begin, folder, store, out, locks) for out in outs]
        pruning = children.start(_prune, begin, store, folder / "pruned", locks)
        try:
            assert [children.ended(process) for process in running] == [0] * PROCESSES
        finally:  # or whoever started it would wait for it for good
            pruning.terminate()
        assert children.ended(pruning) in (0, -15)
        for out in outs:
            assert out.with_suffix(".npy").read_bytes() == calm, "features differ"
            met["computed"] += json.loads(out.with_suffix(".json").read_text())["computed"]
        met["prunings"] += len((folder / "pruned").read_text()) if (folder / "pruned").exists() else 0
        (folder / "pruned").unlink(missing_ok=True)
        met["cases"] += 1
        out = folder / "after"
        children.complete(children.features, folder, store, out)
        assert out.with_suffix(".npy").read_bytes() == calm
        assert json.loads(out.with_suffix(".json").read_text())["damaged"] == 0
    return met


def _features(begin: Any, folder: Path, store: Path, out: Path, locks: bool) -> None:
    begin.wait()
    children.features(folder, store, out, locks=locks)


def _prune(begin: Any, store: Path, log: Path, locks: bool) -> None:
    """Prune everything that is not in use, again and again."""
    import fcntl

    from transfer.cache import inventory, pruning

    if not locks:
        fcntl.flock = lambda *_: None  # type: ignore[assignment]
    begin.wait()
    while True:
        with contextlib.suppress(OSError):  # what others delete or write at the same time
            for entry in pruning.choose_entries(inventory.list_entries(store), pruning.Rule(max_bytes=0)):
                if pruning.delete(entry):
                    with log.open("a") as file:
                        file.write(".")
