"""Maps into the cache: of images and of views of the training images, one pass of the network for all blocks.

N: images. D: numbers of all maps of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer.backbones.choice import Maps
from transfer.cache.feature_table import FeatureTable
from transfer.engines import FeatureRows
from transfer.features.maps import encode
from transfer.system.content_ids import Ids


@dataclass(frozen=True)
class MapTables:
    """The tables of several blocks, as one that takes rows with the maps of all of them."""

    tables: Sequence[tuple[Maps, int, FeatureTable]]
    """For each block its maps, their numbers an image, and where they are kept."""

    def append(self, ids_N32: Ids, x_ND: FeatureRows, seconds: float, made_on: str) -> str:
        """Write to each table the rows that it lacks, as `FeatureTable.append` does; a block has a part of the seconds.

        Returns
        -------
        str
            Name of the last shard, empty where no table lacks any row.
        """
        end, name = 0, ""
        for maps, numbers, table in self.tables:
            start, end = end, end + numbers
            lacks_N = ~table.holds(ids_N32)
            if lacks_N.any():
                rows_ND = encode(np.ascontiguousarray(x_ND[lacks_N, start:end]), maps)
                name = table.append(ids_N32[lacks_N], rows_ND, seconds / len(self.tables), made_on)
        return name

    def merge(self) -> None:
        """Merge small shards of all tables into large ones."""
        for _, _, table in self.tables:
            table.merge()
