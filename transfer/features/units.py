"""How work is divided among workers: units of whole batches, and the cores that each worker has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transfer.cache.feature_table import SHARD_ROWS
from transfer.data.loader import IndexedImages
from transfer.data.names import Names
from transfer.system.errors import UserError

# A worker gets at least so many units, if there are batches for them: what is lost with it is one.
UNITS_EACH = 8


def divide(images: IndexedImages, batch: int, workers: int) -> list[slice]:
    """Divide images into units: parts of whole batches, in the same order, so that each image keeps its place.

    Parameters
    ----------
    images : IndexedImages
    batch : int
        Images in a batch.
    workers : int

    Returns
    -------
    list of slice
        As many images as a large shard has, or fewer, so that each worker gets several.
    """
    most = min(len(images) // (workers * UNITS_EACH), SHARD_ROWS)
    rows = max(1, -(-most // batch)) * batch
    return [slice(start, start + rows) for start in range(0, len(images), rows)]


def compact(images: IndexedImages) -> IndexedImages:
    """Return the same images without the names of others, to be sent elsewhere."""
    names = images.samples.names
    return replace(images, samples=replace(images.samples, names=Names.of(names)))


def share_cores(
    machines: Sequence[tuple[int, int]], workers: int | None, *, on_gpus: bool
) -> tuple[int, int]:
    """Decide how many workers there are and how many cores each has, on machines of any size.

    Parameters
    ----------
    machines : sequence of (int, int)
        Cores and GPUs of each.
    workers : int or None
        How many are wanted; None: one on each GPU, or on each machine.
    on_gpus : bool
        Whether each has a GPU.

    Returns
    -------
    workers : int
    cores : int
        Of each worker, the same for all.

    Raises
    ------
    UserError
        If there is no room for so many.
    """

    def room(cores: int) -> int:
        return sum(min(own // cores, gpus) if on_gpus else own // cores for own, gpus in machines)

    wanted = workers or (room(1) if on_gpus else sum(own > 0 for own, _ in machines))
    if not 0 < wanted <= room(1):
        what = "cores and GPUs" if on_gpus else "cores"
        raise UserError(
            f"`workers` is {wanted or 1}, and the cluster has {what} for {room(1)}; "
            + ("give fewer" if room(1) else f"add machines with {what}")
        )
    cores = max(cores for cores in range(1, max(own for own, _ in machines) + 1) if room(cores) >= wanted)
    return workers or room(cores) if not on_gpus else wanted, cores
