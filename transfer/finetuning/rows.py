"""Images by the maps that blocks are trained on: read from the cache ahead of their use, never all of them at once.

N: images. D: numbers of all maps of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from transfer.backbones.blocks import Shape, unflatten
from transfer.backbones.choice import Maps
from transfer.cache.feature_table import FeatureTable
from transfer.data.threads import begin_ahead
from transfer.features.maps import decode
from transfer.system.content_ids import Ids
from transfer.system.thread_pools import StartedPool

# Batches that are read while one is trained on.
AHEAD = 2

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MapRows:
    """The maps and labels of the images of one split."""

    read: Callable[[Places, torch.dtype], torch.Tensor]
    """Returns rows `(N, D)` of the images at these places in a dtype."""
    y_N: npt.NDArray[np.int64]
    shapes: tuple[Shape, ...]
    """Of the maps of one image."""
    views: int = 1
    """Of each image, itself included: rows of view 1 follow those of all images themselves, and so on."""

    def __len__(self) -> int:
        return len(self.y_N)

    def batches(
        self, places: Sequence[Places], device: str = "cpu", dtype: torch.dtype | None = None
    ) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        """Yield maps and labels of the images at places, batch after batch, read ahead in a thread.

        Parameters
        ----------
        places : sequence of (N,) int64
            For each batch the places of its images, or of their views.
        device : str
            Where the maps are to be.
        dtype : torch.dtype, optional
            Of the maps; None: float32.
        """

        def load(batch: Places) -> torch.Tensor:
            x_ND = self.read(batch, dtype or torch.float32)
            return x_ND.pin_memory() if device == "cuda" else x_ND

        with StartedPool(1) as pool:
            for batch, future in begin_ahead(load, places, AHEAD, pool):
                x_ND = future.result().to(device, non_blocking=True)
                yield unflatten(x_ND, self.shapes), torch.from_numpy(self.y_N[batch % len(self)]).to(device)


def cached_rows(
    tables: Sequence[FeatureTable],
    ids_N32: Ids,
    y_N: npt.NDArray[np.int64],
    maps: Maps,
    shapes: tuple[Shape, ...],
) -> MapRows:
    """Return the maps of images, read from tables of the cache: of the images themselves, and of each view."""

    def read(places: Places, dtype: torch.dtype) -> torch.Tensor:
        view_N, place_N = np.divmod(places, len(ids_N32))
        x_ND = torch.empty(0)
        for view in np.unique(view_N).tolist():
            own_N = np.flatnonzero(view_N == view)
            rows = decode(tables[view].gather(ids_N32[place_N[own_N]]), maps)
            if len(own_N) == len(places):
                return rows.to(dtype)
            if not len(x_ND):
                x_ND = torch.empty(len(places), rows.shape[1], dtype=dtype)
            for at, row_D in zip(own_N.tolist(), rows, strict=True):
                x_ND[at] = row_D  # cast in the same step
        return x_ND

    return MapRows(read, y_N, shapes, len(tables))
