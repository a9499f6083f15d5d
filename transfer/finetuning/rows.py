"""Images by the maps that blocks are trained on: read from the cache ahead of their use, never all of them at once.

N: images. D: numbers of all maps of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

# Batches that are read while one is trained on.
AHEAD = 2

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MapRows:
    """The maps and labels of the images of one split."""

    read: Callable[[Places], torch.Tensor]
    """Returns rows `(N, D)` of the images at these places."""
    y_N: npt.NDArray[np.int64]
    shapes: tuple[Shape, ...]
    """Of the maps of one image."""

    def __len__(self) -> int:
        return len(self.y_N)

    def batches(
        self, places: Sequence[Places], device: str = "cpu", dtype: torch.dtype | None = None
    ) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        """Yield maps and labels of the images at places, batch after batch, read ahead in a thread.

        Parameters
        ----------
        places : sequence of (N,) int64
            For each batch the places of its images.
        device : str
            Where the maps are to be.
        dtype : torch.dtype, optional
            Of the maps; None: float32.
        """

        def load(batch: Places) -> torch.Tensor:
            x_ND = self.read(batch).to(dtype or torch.float32)
            return x_ND.pin_memory() if device == "cuda" else x_ND

        with ThreadPoolExecutor(1) as pool:
            for batch, future in begin_ahead(load, places, AHEAD, pool):
                x_ND = future.result().to(device, non_blocking=True)
                yield unflatten(x_ND, self.shapes), torch.from_numpy(self.y_N[batch]).to(device)


def cached_rows(
    table: FeatureTable, ids_N32: Ids, y_N: npt.NDArray[np.int64], maps: Maps, shapes: tuple[Shape, ...]
) -> MapRows:
    """Return the maps of images, read from a table of the cache."""
    return MapRows(lambda places: decode(table.gather(ids_N32[places]), maps), y_N, shapes)
