"""Feature rows on disk by image id.

A table is one folder of the store: the features of one network, one input size, one way of computing, in shards.
A small shard holds fewer than `SHARD_ROWS` rows, and fewer than `SHARD_BYTES` bytes of them. As soon as the small
shards of a machine have as many together, this process or another merges them into a large one and deletes them; large
ones stay for good.

N: rows, or images asked for. D: features a row.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.cache import locks, old_shards, shards
from transfer.cache.feature_index import Index, Places
from transfer.cache.mirror import Mirror
from transfer.cache.rows import Array, StoredRows
from transfer.cache.shards import Damaged, NewerVersion, Shard
from transfer.system.content_ids import Ids, firsts, to_hex
from transfer.system.errors import UserError
from transfer.system.files import record_sha256
from transfer.system.row_storage import MakeRows

SHARD_ROWS, SHARD_BYTES = 4096, 2**27
# Longer rows, those of maps, are read one by one, and so are few rows of a small shard: to read all of it takes longer.
LONG_ROW_BYTES, FEW_SHARE = 2**16, 1 / 8
# A row's place: the number of its shard times this, and its row there.
PLACES = 2**32

log = logging.getLogger(__name__)


class FeatureTable:
    """Feature rows by image id (the sha256 of the image's bytes).

    Parameters
    ----------
    folder : Path
        Created when the first rows are added.
    declared : dict
        What the features depend on, as JSON values; `record_sha256` of it is the table's `key`.
    mirror : Mirror, optional
        The store behind a URL of which the folder is a copy: what is written is durable once it is there too.
    read : bool
        Whether the rows that are there are read, or some are only to be added.
    """

    def __init__(
        self,
        folder: Path,
        declared: dict[str, Any],
        mirror: Mirror | None = None,
        *,
        read: bool = True,
    ) -> None:
        self.folder = folder
        self.key = record_sha256(declared)
        self._declared = declared
        self.damaged: list[str] = []
        """Names of shards that were set aside because their bytes were not what was written."""
        self._numbers = count()
        self._shards: dict[int, Shard] = {}
        self._index = Index()
        self._known: set[Path] = set()
        """Shards that were found or written: one that was merged may lie there still, where it can't be deleted."""
        self._mirror = mirror
        self._written: set[Path] = set()
        if read:
            self._fetch()
        self._lock = locks.hold(folder)
        if not read:
            return
        # What another process merges in the meantime lies in a new shard: looked for until there is none. Of a folder
        # that is not held, since there was none a moment ago, nothing is taken: it may be pruned.
        while self._lock and self._find_shards():
            pass
        with contextlib.suppress(OSError):  # who only reads needs no right to write
            for path in shards.list_abandoned(folder):
                path.unlink(missing_ok=True)

    def holds(self, ids_N32: Ids) -> npt.NDArray[np.bool_]:
        """Return which of the images `(N, 32)` have a row here: `(N,)` bool."""
        return self._index.find(ids_N32) >= 0

    def append(self, ids_N32: Ids, x_ND: StoredRows, seconds: float, made_on: str) -> str:
        """Write rows of features; they are durable on return.

        Parameters
        ----------
        ids_N32 : (N, 32) uint8
        x_ND : (N, D) float32, or uint16 in all of a table
        seconds : float
            Time that computing them took.
        made_on : str
            Machine that computed them.

        Returns
        -------
        str
            Name of their shard.

        Raises
        ------
        UserError
            If they can't be written.
        """
        name = self._write(ids_N32, x_ND, seconds, made_on)
        self._merge(made_on, if_full=True)
        return name

    def look_again(self, names: Iterable[str] = ()) -> None:
        """Find the rows that other processes have added: in the shards of these names, else in all that are new."""
        self._lock = locks.hold_new(self.folder)
        named = {self.folder / name for name in names}
        # By its name a file is found on network file systems that still list a folder as it was.
        self._find_shards(named if named and all(path.exists() for path in named) else None)

    def gather(self, ids_N32: Ids, make_rows: MakeRows | None = None) -> Array:
        """Return the rows of images, in their order.

        Parameters
        ----------
        ids_N32 : (N, 32) uint8
        make_rows : callable, optional
            From a shape to the float32 array that is filled: in memory by default.

        Returns
        -------
        (N, D) float32
            Or uint16, as they were appended.

        Raises
        ------
        KeyError
            If an image has no row here.
        """
        locks.mark(self.folder)
        while True:
            try:
                return self._rows(ids_N32, make_rows)
            except FileNotFoundError:
                # Merged by another process, into a shard that is new or was found while its parts still answered.
                if not self._find_shards():
                    self._shards, self._index, self._known = {}, Index(), set()
                    if not (self._find_shards() and self.holds(ids_N32).all()):
                        raise

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
        numbers, counts = np.unique(np.unique(self._places(ids_N32)) // PLACES, return_counts=True)
        found = [self._shards[number] for number in numbers.tolist()]
        if any(shard.made_on != made_on for shard in found):
            return None
        return float(np.dot([shard.seconds / shard.shape[0] for shard in found], counts))

    def merge(self) -> None:
        """Merge small shards into large ones; a process killed at any moment loses nothing."""
        for machine in sorted({shard.made_on for shard in self._shards.values()}):
            self._merge(machine)

    def _places(self, ids_N32: Ids) -> Places:
        place_N = self._index.find(ids_N32)
        if (place_N < 0).any():
            raise KeyError(to_hex(ids_N32[place_N < 0][:1])[0])
        return place_N

    def _rows(self, ids_N32: Ids, make_rows: MakeRows | None) -> Array:
        shard_N, row_N = np.divmod(self._places(ids_N32), PLACES)
        numbers = np.unique(shard_N).tolist()
        first = self._shards[numbers[0]] if numbers else None
        shape = len(ids_N32), first.shape[1] if first else 0
        x_ND = make_rows(shape) if make_rows else np.empty(shape, first.dtype if first else np.float32)
        for shard, wanted_N in ((self._shards[number], shard_N == number) for number in numbers):
            few = wanted_N.sum() < FEW_SHARE * shard.shape[0] and shard.shape[0] < SHARD_ROWS
            if few or shard.row_bytes > LONG_ROW_BYTES:
                x_ND[wanted_N] = shard.load_rows(row_N[wanted_N])
            else:  # what is mapped of a file that another machine deletes would end the process: large ones stay
                x_ND[wanted_N] = shard.load(mapped=shard.shape[0] >= SHARD_ROWS)[row_N[wanted_N]]
        return x_ND

    def _merge(self, made_on: str, *, if_full: bool = False) -> None:
        """Merge the small shards of a machine; with `if_full` only where they make a large one together."""
        own = {number: shard for number, shard in self._shards.items() if shard.made_on == made_on}
        if self._mirror:  # other machines would merge the same ones, and none would see that they are gone
            own = {number: shard for number, shard in own.items() if shard.path in self._written}
        row_bytes = max((shard.row_bytes for shard in own.values()), default=1)
        full = max(1, min(SHARD_ROWS, SHARD_BYTES // row_bytes))
        small = [number for number, shard in own.items() if shard.shape[0] < full]
        if if_full and sum(own[number].shape[0] for number in small) < full:
            return
        # What can't be deleted, or is gone since another process merged it, would lie there twice for good.
        small = [number for number in small if shards.can_delete(own[number].path)]
        if len(small) < 2:
            return
        try:  # checked, since what is written of them has a checksum of its own
            found = [shards.read(own[number].path) for number in small]
            x_ND = np.concatenate([shard.load(mapped=False) for shard, _ in found])
        except (OSError, Damaged):  # gone in this moment; or whoever opens them next finds the damage
            return
        ids_N32 = np.concatenate([ids_N32 for _, ids_N32 in found])
        row_N = np.sort(firsts(ids_N32))
        # Rows that another shard answers for are in it already.
        row_N = row_N[np.isin(self._places(ids_N32[row_N]) // PLACES, small)]
        for start in range(0, len(row_N), full):
            part_N = row_N[start : start + full]
            seconds = self.seconds(ids_N32[part_N], made_on)
            assert seconds is not None
            self._write(ids_N32[part_N], x_ND[part_N], seconds, made_on)
        for number in small:
            path = self._shards.pop(number).path
            shards.delete(path)
            if self._mirror:
                self._mirror.delete(path)

    def _write(self, ids_N32: Ids, x_ND: StoredRows, seconds: float, made_on: str, nonce: str = "") -> str:
        self._lock = locks.hold_new(self.folder)  # it may have been pruned
        written = shards.write(self.folder, self._declared, ids_N32, x_ND, seconds, made_on, nonce)
        if self._mirror:
            self._written.add(written.path)
            self._mirror.put(written.path)
        self._add(written, ids_N32)
        return written.path.name

    def _add(self, shard: Shard, ids_N32: Ids) -> None:
        number = next(self._numbers)
        self._shards[number] = shard
        self._known.add(shard.path)
        self._index.add(ids_N32, number * PLACES + np.arange(len(ids_N32)))

    def _find_shards(self, among: set[Path] | None = None) -> bool:
        """Open the shards that are new; return whether there are any."""
        if among is None:
            self._fetch()
            among = shards.list_shards(self.folder)
        found = among - self._known
        self._known |= found
        for path in sorted(found):
            self._open(path)
        return bool(found)

    def _fetch(self) -> None:
        if self._mirror:
            self.damaged += self._mirror.fetch_shards(self.folder)

    def _open(self, path: Path) -> None:
        try:
            shard, ids_N32 = shards.read(path)
            first = next(iter(self._shards.values()), shard)
            if (shard.shape[1], shard.dtype) != (first.shape[1], first.dtype):
                raise Damaged("its rows are not as long as the others")
        except FileNotFoundError:  # merged by another process since the folder was listed
            return
        except PermissionError:
            log.warning("another user's shard can't be read, and its images are computed again: %s", path)
            return
        except NewerVersion as newer:
            log.warning("a shard of a newer version of transfer is left as it is: %s (%s)", path, newer)
            return
        except Damaged as damage:
            log.warning("a damaged shard is set aside, its rows are no longer used: %s (%s)", path, damage)
            shards.set_aside(path)
            if self._mirror and path.stem in self.damaged:
                self._mirror.set_aside(path)
                return
            self.damaged.append(path.stem)
            if self._mirror and not path.exists():  # of a damaged copy the store may have what was written
                self._known.discard(path)
            return
        self._add(shard, ids_N32)
        with contextlib.suppress(UserError, OSError):  # who only reads needs no right to write
            if path.suffix == old_shards.MANIFEST and shards.can_delete(path):
                # Whoever else does the same writes the same bytes.
                self._write(ids_N32, shard.load(), shard.seconds, shard.made_on, nonce=path.stem)
                shards.delete(path)
                (self.folder / old_shards.KEY).unlink(missing_ok=True)
            self._merge(shard.made_on, if_full=True)
