"""Maps as rows of the cache: how they are kept, and the space that they take.

N: images. D: numbers of all maps of an image.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from transfer.backbones import networks
from transfer.backbones.blocks import CantCut
from transfer.backbones.choice import Maps
from transfer.backbones.weights import Weights
from transfer.data.loader import IndexedImages
from transfer.engines import FeatureRows
from transfer.features.plan import MapsRequest
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.text import in_bytes

log = logging.getLogger(__name__)


def declare(maps: Sequence[Maps]) -> dict[str, Any]:
    """Return what the key of a block's maps is made of; nothing for features."""
    return {"maps": asdict(maps[0])} if maps else {}


def encode(x_ND: FeatureRows, maps: Maps) -> npt.NDArray[Any]:
    """Return rows as the cache keeps them: those of bfloat16 as their bits, uint16."""
    if maps.dtype == "float32":
        return x_ND
    bits: npt.NDArray[Any] = torch.from_numpy(x_ND).to(torch.bfloat16).view(torch.uint16).numpy()
    return bits


def decode(rows_ND: npt.NDArray[Any], maps: Maps) -> torch.Tensor:
    """Return rows of the cache as a tensor `(N, D)` in the maps' own dtype, in the same memory."""
    found = torch.from_numpy(rows_ND)
    return found if maps.dtype == "float32" else found.view(torch.bfloat16)


def count_numbers(weights: Weights, maps: Sequence[Maps], size: tuple[int, int]) -> int:
    """Count the numbers of blocks' maps of one image of a size, height and width in pixels."""
    own = weights.preprocessing.size
    frozen = networks.at_size(weights.network, weights.backbone, size, own, maps=maps)
    with torch.no_grad():
        return int(frozen(torch.zeros(1, 3, *size)).shape[1])


def count_bytes(request: MapsRequest, numbers: int) -> int:
    """Count the bytes that so many numbers take in the cache."""
    return numbers * (4 if request.dtype == "float32" else 2)


def check_limit(request: MapsRequest, weights: Weights, size: tuple[int, int], images: IndexedImages) -> None:
    """Raise `UserError` where the maps of a run take more than its limit, whether they are in the store or not.

    Parameters
    ----------
    request : MapsRequest
    weights : Weights
        Of the network whose blocks are meant. One that it can't be cut at counts for nothing: it has no maps.
    size : (int, int)
        Height and width in pixels.
    images : IndexedImages
    """
    if request.max_bytes is None:
        return
    numbers = 0
    for block in request.blocks:
        with contextlib.suppress(CantCut):
            numbers += count_numbers(weights, request.of([block]), size)
    distinct, viewed = images.distinct(), seen_in_views(request, images)
    views = (request.views - 1) * len(viewed)
    needed = count_bytes(request, (len(distinct) + views) * numbers)
    if needed > request.max_bytes:
        fewer = "fewer `views`, " if request.views > 1 else ""
        raise UserError(
            f"{describe(request.blocks, len(distinct), views)} take {in_bytes(needed)} in the store, "
            f"more than `max_cache`, {in_bytes(request.max_bytes)}; give {fewer}a later block, or a larger limit"
        )


def seen_in_views(request: MapsRequest, images: IndexedImages) -> IndexedImages:
    """Return the images that views are made of, without repetitions."""
    return (images if request.views_of_all else images.in_split("train")).distinct()


def check_space(folder: Path, what: str, needed: int) -> None:
    """Log the bytes that maps take before they are computed; raise `UserError` where the disk has no room for them."""
    free = files.free_bytes(folder)
    if needed > free:
        raise UserError(
            f"{what} take {in_bytes(needed)}, and the store has {in_bytes(free)} left; "
            "name a later block, or another `store`"
        )
    log.info("%s take %s in the store", what, in_bytes(needed))


def describe(blocks: Sequence[str], images: int, views: int) -> str:
    """Name the maps of so many images, and of so many views beside these."""
    also = f" and {views:,} views" if views else ""
    return f"the maps before {', '.join(blocks)} of {images:,} images{also}"
