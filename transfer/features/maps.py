"""Maps as rows of the cache: how they are kept, and the space that they take.

N: images. D: numbers of all maps of an image.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from transfer.backbones.choice import Maps
from transfer.engines import Features
from transfer.system.errors import UserError

log = logging.getLogger(__name__)


def declare(maps: Maps | None) -> dict[str, Any]:
    """Return what of maps their key is made of; nothing for features."""
    return {"maps": asdict(maps)} if maps else {}


def encode(x_ND: Features, maps: Maps | None) -> npt.NDArray[Any]:
    """Return rows as the cache keeps them: those of bfloat16 as their bits, uint16."""
    if maps is None or maps.dtype == "float32":
        return x_ND
    bits: npt.NDArray[Any] = torch.from_numpy(x_ND).to(torch.bfloat16).view(torch.uint16).numpy()
    return bits


def decode(rows_ND: npt.NDArray[Any], maps: Maps) -> torch.Tensor:
    """Return rows of the cache as a tensor `(N, D)` in the maps' own dtype, in the same memory."""
    found = torch.from_numpy(rows_ND)
    return found if maps.dtype == "float32" else found.view(torch.bfloat16)


def check_space(
    maps: Maps | None, folder: Path, frozen: nn.Module, size: tuple[int, int], images: int
) -> None:
    """Log the size of maps before they are computed; raise `UserError` where the disk has no room for them."""
    if not maps:
        return
    with torch.no_grad():
        numbers = frozen(torch.zeros(1, 3, *size)).shape[1]
    needed = images * numbers * (4 if maps.dtype == "float32" else 2)
    there = next(path for path in folder.parents if path.exists())
    free = shutil.disk_usage(there).free
    what = f"the maps before {maps.block} of {images:,} images take {needed / 1e9:.2f} GB"
    if needed > free:
        room = f"the store has {free / 1e9:.2f} GB left"
        raise UserError(f"{what}, and {room}; name a later block, or another `store`")
    log.info("%s in the store", what)
