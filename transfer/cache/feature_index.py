"""Places of feature rows by image id, as sorted arrays.

N: images asked for. M: images being added.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer.system.content_ids import Ids, find, keys

Places = npt.NDArray[np.int64]

# Additions wait until they are a quarter of what is settled, or asked for: settling copies all there is.
WAITING_SHARE, WAITING_LEAST = 4, 65_536
# Ids looked up at a time: what a lookup needs beside its answer is several times as large.
LOOKUP = 65_536


class Index:
    """Map from ids to places (numbers from 0 up); of several places added for one id the latest counts."""

    def __init__(self) -> None:
        self._key_N = np.empty(0, "S32")
        self._place_N = np.array([-1])
        """Places of the sorted keys; the last one is that of unknown keys."""
        self._waiting: list[tuple[Ids, Places]] = []
        self._waiting_rows = 0

    def add(self, ids_M32: Ids, place_M: Places) -> None:
        """Add the places `(M,)` of ids `(M, 32)`."""
        self._waiting.append((ids_M32, place_M))
        self._waiting_rows += len(ids_M32)
        if self._waiting_rows > max(WAITING_LEAST, len(self._key_N) // WAITING_SHARE):
            self._settle()

    def find(self, ids_N32: Ids) -> Places:
        """Return the place of each id `(N, 32)`; -1 for one that was not added."""
        self._settle()
        key_N = keys(ids_N32)
        place_N = np.empty(len(key_N), np.int64)
        for start in range(0, len(key_N), LOOKUP):
            part_K = key_N[start : start + LOOKUP]
            order_K = np.argsort(part_K)  # in their order, the processor's cache has what the next key needs
            place_N[start + order_K] = self._place_N[find(part_K[order_K], self._key_N)]
        return place_N

    def _settle(self) -> None:
        if not self._waiting:
            return
        key_M = keys(np.concatenate([ids for ids, _ in self._waiting]))
        place_M = np.concatenate([places for _, places in self._waiting])
        self._waiting, self._waiting_rows = [], 0
        order_M = np.argsort(key_M, kind="stable")
        key_M, place_M = key_M[order_M], place_M[order_M]
        latest_M = np.append(key_M[1:] != key_M[:-1], True)
        key_M, place_M = key_M[latest_M], place_M[latest_M]
        at_M = find(key_M, self._key_N)
        known_M = at_M >= 0
        self._place_N[at_M[known_M]] = place_M[known_M]
        key_M, place_M = key_M[~known_M], place_M[~known_M]
        at_M = np.searchsorted(self._key_N, key_M)
        self._key_N = np.insert(self._key_N, at_M, key_M)
        self._place_N = np.insert(self._place_N, at_M, place_M)
