"""Shards, of version 2 too, with every region flipped, cut, or gone."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import count as count_up
from itertools import islice
from pathlib import Path

import numpy as np

from tests.cache.old import write_old
from transfer.cache import inventory, shards
from transfer.cache.store import Store
from transfer.system.content_ids import from_hex

DECLARED = {"backbone": "resnet18", "size": [48, 64]}
ROWS, PARTS, WIDTH = 24, 3, 16

CHANGES: dict[str, Callable[[bytearray, int, random.Random], bytes]] = {
    "flipped": lambda data, at, rng: bytes([*data[:at], data[at] ^ 1 << rng.randrange(8), *data[at + 1 :]]),
    "cut": lambda data, at, rng: bytes(data[:at]),
    "lost": lambda data, at, rng: bytes(data[:at] + data[at + rng.randrange(1, 9) :]),
    "added": lambda data, at, rng: bytes(data[:at]) + rng.randbytes(rng.randrange(1, 9)) + bytes(data[at:]),
    "zeros": lambda data, at, rng: (
        bytes(data[:at]) + bytes(min(512, len(data) - at)) + bytes(data[at + 512 :])
    ),
    "noise": lambda data, at, rng: bytes(data[:at]) + rng.randbytes(len(data) - at),
}


def damage(count: int, seed: int, folder: Path) -> Counter[str]:
    """`count` faults, each in a whole store: found, healed, and no wrong row is ever given out."""
    rng = random.Random(seed)
    ids = from_hex([hashlib.sha256(bytes([i])).hexdigest() for i in range(ROWS)])
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    whole = Store(folder / "whole").table(DECLARED)
    *parts, old = np.split(np.arange(ROWS), PARTS)
    for part in parts:
        whole.append(ids[part], x[part], 1.5, "here")
    manifest = write_old(whole.folder, DECLARED, ids[old], x[old], 1.5)
    found = [*shards.list_shards(whole.folder), manifest.with_suffix(".npy")]
    paths = sorted(path.relative_to(folder / "whole") for path in found)
    contents = {path: (folder / "whole" / path).read_bytes() for path in paths}
    regions = ((path, at) for _ in count_up() for path in paths for at in _regions(contents[path], rng))
    faults = ((path, at, name) for path, at in regions for name in CHANGES)
    met: Counter[str] = Counter()
    for path, at, name in islice(faults, count):
        _check(folder, path, CHANGES[name](bytearray(contents[path]), at, rng), ids, x)
        met["cases"] += 1
        met[f"{path.suffix} {name}"] += 1
    return met


def _regions(data: bytes, rng: random.Random) -> list[int]:
    """Where each part of a file begins, its ends, and places between."""
    named = {match.start() for match in re.finditer(rb'"\w+"|\{|\}|\[|\]|NUMPY|PAR1|[a-z]{5,}|\d\.\d', data)}
    return sorted(
        {0, len(data) - 1, *rng.sample(range(len(data)), 3), *rng.sample(sorted(named), min(6, len(named)))}
    )


def _check(folder: Path, path: Path, after: bytes, ids: np.ndarray, x: np.ndarray) -> None:
    store = folder / "damaged"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(folder / "whole", store)
    before = (store / path).read_bytes()
    (store / path).write_bytes(after)
    [entry] = inventory.list_entries(store)
    found = list(inventory.find_faults(entry))
    table = Store(store).table(DECLARED)
    held = table.holds(ids)
    np.testing.assert_array_equal(table.gather(ids[held]), x[held])
    if _says(after) != _says(before):
        assert found, f"{path}: not found"
        assert len(table.damaged) == 1
        assert held.sum() == ROWS - ROWS // PARTS, "more rows are lost than were damaged"
    table.append(ids[~held], x[~held], 1.5, "here") if not held.all() else table.append(
        ids[:1], x[:1], 1, "here"
    )
    healed = Store(store).table(DECLARED)
    assert healed.damaged == []
    np.testing.assert_array_equal(healed.gather(ids), x)
    [entry] = inventory.list_entries(store)
    assert list(inventory.find_faults(entry)) == []


def _says(data: bytes) -> object:
    """What a file says: spaces within JSON say nothing."""
    try:
        return json.loads(data)
    except ValueError:
        return data
