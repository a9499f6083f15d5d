"""Shards as version 2 wrote them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from transfer.system import files
from transfer.system.content_ids import Ids, to_hex


def write_old(
    folder: Path,
    declared: dict[str, Any],
    ids: Ids,
    x: np.ndarray,
    seconds: float = 1.0,
    made_on: str = "here",
    *,
    name: str = "0a" * 16,
) -> Path:
    """A shard and what its features depend on; its manifest is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.json").write_text(json.dumps(declared, indent=1, sort_keys=True))
    buffer = io.BytesIO()
    np.save(buffer, x, allow_pickle=False)
    (folder / f"{name}.npy").write_bytes(buffer.getvalue())
    manifest = folder / f"{name}.json"
    record = {
        "schema_version": 2,
        "ids": to_hex(ids),
        "shape": list(x.shape),
        "sha256": files.sha256(buffer.getvalue()),
        "seconds": seconds,
        "made_on": made_on,
    }
    manifest.write_bytes(files.seal(record))
    return manifest
