"""Shards of version 2, read and never written: `NAME.npy` has the rows, `NAME.json`, the manifest, their images.

A table that meets one writes it as a shard of today's version and deletes it.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from transfer.system import files
from transfer.system.content_ids import Ids, from_hex

# In each folder: what its features depend on.
MANIFEST, ROWS, KEY = ".json", ".npy", "key.json"
# 70 bytes for each of some thousand rows.
MAX_BYTES = 4_000_000
_NAME = re.compile(r"[0-9a-f]{32}")


def read(manifest: Path, *, check: bool) -> tuple[Ids, dict[str, Any]]:
    """Return the images `(N, 32)` of a shard and what it says of its rows, as fields of `shards.Shard`.

    The rows are looked at only to `check` them. Raises an exception of any kind if they are not what was written.
    """
    record, declared, start = files.unseal(files.read(manifest, MAX_BYTES)), None, 0
    with contextlib.suppress(OSError, ValueError, RecursionError):
        declared = json.loads(files.read(manifest.with_name(KEY), MAX_BYTES))
    ids_N32, shape, seconds = from_hex(record["ids"]), tuple(record["shape"]), float(record["seconds"])
    if record["schema_version"] != 2 or len(ids_N32) != shape[0] or not 0 <= seconds < math.inf:
        raise ValueError("its manifest is none of this version")
    if check:
        rows = manifest.with_suffix(ROWS)
        if not rows.exists() and manifest.exists():  # whoever deletes both begins with the manifest
            raise ValueError("its rows are gone")
        if files.file_sha256(rows) != record["sha256"]:
            raise ValueError("its rows are not those that were written")
        x_ND = np.load(rows, mmap_mode="r", allow_pickle=False)
        if (x_ND.shape, x_ND.dtype, x_ND.flags.c_contiguous) != (shape, np.float32, True) or x_ND.ndim != 2:
            raise ValueError("its rows are not those of its manifest")
        start = x_ND.offset
    about = {"shape": shape, "seconds": seconds, "made_on": str(record["made_on"]), "start": start}
    return ids_N32, {"declared": declared, **about}


def orphans(folder: Path) -> list[Path]:
    """Return the rows in a folder without a manifest, which was written last."""
    rows = (path for path in files.list_matching(folder, f"*{ROWS}") if _NAME.fullmatch(path.stem))
    return [path for path in rows if files.is_abandoned(path) and not path.with_suffix(MANIFEST).exists()]
