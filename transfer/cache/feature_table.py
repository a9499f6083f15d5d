"""Feature rows on disk by image id.

A table is one folder of the store: the features of one network, one input size, one way of computing, in shards.
A small shard holds fewer than `SHARD_ROWS` rows. As soon as the small shards of a machine have as many together, this
process or another merges them into a large one and deletes them; large ones stay for good.

N: rows, or images asked for. D: features a row.
"""

from __future__ import annotations

import contextlib
import json
import logging
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.cache import locks, shards
from transfer.cache.feature_index import Index, Places
from transfer.cache.shards import KEY, Array, Damaged, NewerVersion, Shard
from transfer.system import files
from transfer.system.content_ids import Ids, firsts, to_hex
from transfer.system.errors import UserError

SHARD_ROWS = 4096
# A row's place: the number of its shard times this, and its row there.
PLACES = 2**32

log = logging.getLogger(__name__)


def listed(folder: Path) -> Ids:
    """Return the images that the manifests of a table list, copies included.

    Their rows are neither read nor checked: that takes a hundred times as long, and only the features that are used
    must be whole.

    Parameters
    ----------
    folder : Path
        Of the table; it need not exist.

    Returns
    -------
    (N, 32) uint8
        Ids.
    """
    found = [np.empty((0, 32), np.uint8)]
    for manifest in sorted(shards.manifests(folder)):
        # Opening a table reports these.
        with contextlib.suppress(Damaged, NewerVersion, FileNotFoundError):
            found.append(shards.read_ids(manifest))
    return np.concatenate(found)


class FeatureTable:
    """Feature rows by image id (the sha256 of the image's bytes).

    Parameters
    ----------
    folder : Path
        Created when the first rows are added.
    key : str
        sha256 of `declared`, see `transfer.cache.store.key_of`.
    declared : dict
        What the features depend on, as JSON values.
    """

    def __init__(self, folder: Path, key: str, declared: dict[str, Any]) -> None:
        self.folder = folder
        self.key = key
        self._declared = declared
        self.damaged: list[str] = []
        """Names of shards that were set aside because their bytes were not what was written."""
        self._numbers = count()
        self._shards: dict[int, Shard] = {}
        self._small: dict[int, tuple[Ids, Array]] = {}
        """Small shards in memory, since another process may merge them and delete their files."""
        self._unmerged: set[int] = set()
        """Those of them with files that another process has merged and deleted."""
        self._index = Index()
        self._lock = locks.hold(folder)
        self._has_key = False
        self._known: set[Path] = set()
        """Manifests that were listed or written: one that was merged may lie there still, where it can't be deleted."""
        # What another process merges in the meantime lies in a new shard: listed until there is none. Of a folder that
        # is not held, since there was none a moment ago, nothing is taken: it may be pruned.
        while self._lock and (found := shards.manifests(folder) - self._known):
            self._known |= found
            for manifest in sorted(found):
                self._open(manifest)
        with contextlib.suppress(OSError, UserError):  # who only reads needs no right to write
            if self._shards:
                self._be_there()  # what is said of them may be damaged
            for path in (*files.abandoned(folder), *shards.orphans(folder)):
                path.unlink(missing_ok=True)

    def holds(self, ids_N32: Ids) -> npt.NDArray[np.bool_]:
        """Return which of the images `(N, 32)` have a row here: `(N,)` bool."""
        return self._index.find(ids_N32) >= 0

    def append(self, ids_N32: Ids, x_ND: Array, seconds: float, made_on: str) -> None:
        """Write rows of features; they are durable on return.

        Parameters
        ----------
        ids_N32 : (N, 32) uint8
        x_ND : (N, D) float32
        seconds : float
            Time that computing them took.
        made_on : str
            Machine that computed them.

        Raises
        ------
        UserError
            If they can't be written.
        """
        self._be_there()
        self._write(ids_N32, x_ND, seconds, made_on)
        self._merge_gathered(made_on)

    def gather(self, ids_N32: Ids) -> Array:
        """Return the rows of images, in their order.

        Parameters
        ----------
        ids_N32 : (N, 32) uint8

        Returns
        -------
        (N, D) float32

        Raises
        ------
        KeyError
            If an image has no row here.
        """
        locks.mark(self.folder)
        shard_N, row_N = np.divmod(self._places(ids_N32), PLACES)
        numbers = np.unique(shard_N).tolist()
        width = self._shards[numbers[0]].shape[1] if numbers else 0
        x_ND = np.empty((len(ids_N32), width), np.float32)
        for number in numbers:
            wanted_N = shard_N == number
            x_ND[wanted_N] = self._rows(number)[row_N[wanted_N]]
        return x_ND

    def seconds(self, ids_N32: Ids, made_on: str) -> float | None:
        """Return the time that computing the images' rows took, in whichever runs that was.

        Parameters
        ----------
        ids_N32 : (N, 32) uint8
        made_on : str
            Machine.

        Returns
        -------
        float or None
            Seconds; None if not all rows were computed on `made_on`.
        """
        places = np.unique(self._places(ids_N32))
        numbers, counts = np.unique(places // PLACES, return_counts=True)
        found = [self._shards[number] for number in numbers.tolist()]
        if any(shard.made_on != made_on for shard in found):
            return None
        return float(np.dot([shard.seconds / shard.shape[0] for shard in found], counts))

    def merge(self) -> None:
        """Merge small shards into large ones; a process killed at any moment loses nothing."""
        for machine in sorted(
            {self._shards[number].made_on for number in self._small.keys() - self._unmerged}
        ):
            self._merge(machine)

    def _places(self, ids_N32: Ids) -> Places:
        place_N = self._index.find(ids_N32)
        if (place_N < 0).any():
            raise KeyError(to_hex(ids_N32[place_N < 0][:1])[0])
        return place_N

    def _rows(self, number: int) -> Array:
        if number in self._small:
            return self._small[number][1]
        return self._shards[number].load()

    def _small_of(self, made_on: str) -> list[int]:
        left = self._small.keys() - self._unmerged
        return sorted(number for number in left if self._shards[number].made_on == made_on)

    def _merge_gathered(self, made_on: str) -> None:
        if sum(self._shards[number].shape[0] for number in self._small_of(made_on)) >= SHARD_ROWS:
            self._merge(made_on)

    def _merge(self, made_on: str) -> None:
        # What another process has merged lies in a shard of its own; merged again, it would lie there twice for good.
        gone = {number for number in self._small_of(made_on) if not self._shards[number].manifest.exists()}
        self._unmerged |= gone
        small = self._small_of(made_on)
        if len(small) < 2:
            return
        ids_N32 = np.concatenate([self._small[number][0] for number in small])
        ids_N32 = ids_N32[np.sort(firsts(ids_N32))]
        # Rows that another shard answers for are in it already.
        ids_N32 = ids_N32[np.isin(self._places(ids_N32) // PLACES, small)]
        for start in range(0, len(ids_N32), SHARD_ROWS):
            part_N32 = ids_N32[start : start + SHARD_ROWS]
            seconds = self.seconds(part_N32, made_on)
            assert seconds is not None
            self._write(part_N32, self.gather(part_N32), seconds, made_on)
        for number in small:
            shard = self._shards.pop(number)
            del self._small[number]
            shards.delete(shard)

    def _be_there(self) -> None:
        """Create and lock the folder and write what its features depend on, also after it was pruned."""
        if self._has_key and (self.folder / KEY).exists():
            return
        self._lock = locks.hold_new(self.folder)
        key_json = json.dumps(self._declared, indent=1, sort_keys=True).encode()
        try:
            self._has_key = files.read(self.folder / KEY, len(key_json)) == key_json
        except OSError:
            self._has_key = False
        if not self._has_key:
            files.write(self.folder / KEY, key_json)
            self._has_key = True

    def _write(self, ids_N32: Ids, x_ND: Array, seconds: float, made_on: str) -> None:
        self._add(shards.write(self.folder, ids_N32, x_ND, seconds, made_on), ids_N32, x_ND)

    def _add(self, shard: Shard, ids_N32: Ids, x_ND: Array) -> None:
        number = next(self._numbers)
        self._shards[number] = shard
        self._known.add(shard.manifest)
        self._index.add(ids_N32, number * PLACES + np.arange(len(ids_N32)))
        if len(ids_N32) < SHARD_ROWS:
            self._small[number] = (ids_N32, np.array(x_ND, np.float32))

    def _open(self, manifest: Path) -> None:
        try:
            shard, ids_N32, x_ND = shards.read(manifest)
            if self._shards and shard.shape[1] != next(iter(self._shards.values())).shape[1]:
                raise Damaged("its rows are not as long as the others")
        except FileNotFoundError:  # merged by another process since the folder was listed
            return
        except PermissionError:
            log.warning("another user's shard can't be read, and its images are computed again: %s", manifest)
            return
        except NewerVersion as newer:
            log.warning("a shard of a newer version of transfer is left as it is: %s (%s)", manifest, newer)
            return
        except Damaged as damage:
            self.damaged.append(manifest.stem)
            log.warning("a damaged shard is set aside, its rows count no more: %s (%s)", manifest, damage)
            shards.set_aside(manifest)
            return
        self._add(shard, ids_N32, x_ND)
        if not shards.can_delete(shard):  # merged, it would lie there twice for good
            self._unmerged.add(max(self._shards))
        with contextlib.suppress(UserError, OSError):  # who only reads needs no right to write
            self._merge_gathered(shard.made_on)
