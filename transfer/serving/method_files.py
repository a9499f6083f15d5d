"""The files of a method in the folder of a model: its head, and the blocks of the network that it trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes

from transfer.backbones.checkpoint import State
from transfer.config import SCORE_NAMES
from transfer.heads import serialization
from transfer.heads.calibration import Calibration
from transfer.system import files
from transfer.system.errors import UserError

# Of a file's name, after that of the method. Names of blocks have dots and no hyphens, so no head of another method has
# this file name.
BLOCKS = "-blocks"


def save_heads(
    folder: Path,
    fitted: Mapping[str, tuple[dict[str, Any], Any, Calibration | None]],
    blocks: Mapping[str, State],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Save heads; return the entries in `model.json` of those that were saved, and why the others were not."""
    methods, failures = [], []
    for name, (entry, head, calibration) in fitted.items():
        try:
            path = serialization.save(head, folder / f"{stem_of(name)}{serialization.SUFFIX}")
        except UserError as error:
            failures.append(f"{name} is not saved: {error}")
            continue
        methods.append(
            {
                "name": name,
                "kind": entry["kind"],
                "params": entry["best_params"],
                **{
                    split: {score: entry[split][score] for score in SCORE_NAMES}
                    for split in ("valid", "test")
                },
                "calibration": calibration and asdict(calibration),
                "sha256": files.file_sha256(path),
                **_save_blocks(
                    path.with_name(f"{stem_of(name)}{BLOCKS}{serialization.SUFFIX}"), blocks.get(name)
                ),
            }
        )
    return methods, failures


def _save_blocks(path: Path, tensors: State | None) -> dict[str, str]:
    """Save the tensors of the network that a method trained, if it did; return what its entry says of them."""
    if not tensors:
        return {}
    return {"blocks_sha256": files.write(path, to_bytes({key: one.cpu() for key, one in tensors.items()}))}


def stem_of(method: str) -> str:
    """Return the name of a method's files: not every system has colons in names."""
    return method.replace(":", "-")
