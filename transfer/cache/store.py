"""The store on disk, addressed by declared data: features, generated files, trials of engines."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transfer.cache import locks, shards
from transfer.cache.feature_table import FeatureTable
from transfer.cache.locks import SharedLock
from transfer.cache.mirror import Mirror
from transfer.system import files
from transfer.system.content_ids import Ids
from transfer.system.errors import is_out_of_memory
from transfer.system.remote import RemotePath

FEATURES, TRIALS = "features", "trials"
MADE_KINDS = ("weights", "calibrated", "finetuned")
# In the folder of a file that was made: which file, and what it depends on.
MADE = "made.json"
_MADE_FILE = re.compile(r"[0-9a-f]{32}\.safetensors|made\.json")
# The record of a file, or of trials, is a few kilobytes.
MAX_RECORD_BYTES = 4_000_000


def folder_name(declared: dict[str, Any]) -> str:
    """Return the name of the folder of declared data (JSON values): the first 32 digits of `files.record_sha256`."""
    return files.record_sha256(declared)[:32]


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MadeFile:
    """A generated file that is kept, with the seconds it took and the machine it was made on."""

    path: Path
    sha256: str
    seconds: float
    made_on: str
    lock: SharedLock | None = field(default=None, compare=False, repr=False)


def made_path(folder: Path, sha256: str) -> Path:
    """Return the path of a made file with this checksum."""
    return folder / f"{sha256[:32]}.safetensors"


class Store:
    """A folder of feature tables, of generated files, and of trials of engines.

    Whatever is kept is found again by `declared`: JSON values that say what it depends on.

    Parameters
    ----------
    root : Path
        Created when something is first kept or looked up. Behind a URL it is worked on in a copy on this machine.
    """

    def __init__(self, root: Path) -> None:
        self.mirror = Mirror(root) if isinstance(root, RemotePath) else None
        self.root = self.mirror.folder if self.mirror else root

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (
            self.mirror.url if self.mirror else self.root,
        )  # another machine has a copy of its own

    def table(self, declared: dict[str, Any], *, read: bool = True) -> FeatureTable:
        """Open the table of features of what is declared.

        Parameters
        ----------
        declared : dict
        read : bool
            Whether the rows that are there are read, or some are only to be added.

        Returns
        -------
        FeatureTable
            Its folder is created when the first rows are added.

        Raises
        ------
        UserError
            If the store can't be used.
        """
        return FeatureTable(self.folder(FEATURES) / folder_name(declared), declared, self.mirror, read=read)

    def list_ids(self, declared: dict[str, Any]) -> Ids:
        """Return the images that a table lists, copies included.

        It is not opened: only the features that are used must be whole, so the rows are neither read nor checked.

        Parameters
        ----------
        declared : dict

        Returns
        -------
        (N, 32) uint8
            Ids.

        Raises
        ------
        UserError
            If the store can't be used.
        """
        folder = self.folder(FEATURES) / folder_name(declared)
        if self.mirror:
            self.mirror.fetch_shards(folder)
        found = shards.read_headers(folder)
        return np.concatenate([np.empty((0, 32), np.uint8), *(ids_N32 for _, ids_N32 in found)])

    def find_made(self, kind: str, declared: dict[str, Any]) -> MadeFile | None:
        """Return a generated file, checked against its sha256.

        Parameters
        ----------
        kind : {"weights", "calibrated", "finetuned"}
        declared : dict

        Returns
        -------
        MadeFile or None
            None if there is none, or if it is damaged, which is logged.

        Raises
        ------
        UserError
            If the store can't be used.
        """
        folder = self._made_folder(kind, declared)
        if self.mirror:
            self.mirror.fetch(folder, _MADE_FILE)
        lock = locks.hold(folder)
        if not lock:  # what comes from here on may be pruned before it is held
            return None
        try:
            record = files.unseal(files.read(folder / MADE, MAX_RECORD_BYTES))
            made = MadeFile(
                made_path(folder, record["sha256"]),
                record["sha256"],
                float(record["seconds"]),
                str(record["made_on"]),
                lock,
            )
            if files.file_sha256(made.path) != made.sha256:
                raise ValueError("not what was written")
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged, or sealed with whatever in it
            if is_out_of_memory(error):
                raise
            log.warning("a damaged file is made again: %s", folder)
            return None
        locks.mark(folder)
        return made

    def keep(
        self, kind: str, declared: dict[str, Any], data: bytes, seconds: float, made_on: str
    ) -> MadeFile:
        """Keep a generated file.

        Parameters
        ----------
        kind : {"weights", "calibrated", "finetuned"}
        declared : dict
        data : bytes
        seconds : float
            Time that making it took.
        made_on : str
            Machine that made it.

        Returns
        -------
        MadeFile

        Raises
        ------
        UserError
            If it can't be written.
        """
        folder = self._made_folder(kind, declared)
        lock = locks.hold_new(folder)
        # Whoever else makes it may have made other bytes, and use them: each has its own name.
        path = made_path(folder, files.sha256(data))
        digest = files.write(path, data)
        record = {"declared": declared, "sha256": digest, "seconds": seconds, "made_on": made_on}
        files.write(folder / MADE, files.seal(record))
        if self.mirror:
            self.mirror.put(path)
            self.mirror.put(folder / MADE)  # the last, since it says that the file is there
        return MadeFile(path, digest, seconds, made_on, lock)

    def _made_folder(self, kind: str, declared: dict[str, Any]) -> Path:
        return self.folder(kind) / folder_name(declared)

    def trials(self, declared: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the trials of engines that were kept for what is declared; an empty list if there are none.

        Parameters
        ----------
        declared : dict

        Returns
        -------
        list of dict
            As they were given to `keep_trials`.
        """
        name = f"{folder_name(declared)}.json"
        if self.mirror:
            self.mirror.fetch_file(self.root / TRIALS / name)
        for entry in self._trials(name):
            locks.mark(self.root / TRIALS / name)
            return list(entry["trials"])
        return []

    def keep_trials(self, declared: dict[str, Any], trials: Sequence[dict[str, Any]]) -> None:
        """Keep trials of engines, in place of those kept before.

        Parameters
        ----------
        declared : dict
        trials : sequence of dict
            JSON values.

        Raises
        ------
        UserError
            If they can't be written.
        """
        path = self.folder(TRIALS) / f"{folder_name(declared)}.json"
        files.write(path, files.seal({"declared": declared, "trials": list(trials)}))
        if self.mirror:
            self.mirror.put(path)

    def all_trials(self) -> list[dict[str, Any]]:
        """Return all trials that are kept.

        Returns
        -------
        list of dict
            Each with `declared` and `trials`.
        """
        return self._trials("*.json")

    def _trials(self, pattern: str) -> list[dict[str, Any]]:
        found = []
        for path in files.list_matching(self.root / TRIALS, pattern):
            with contextlib.suppress(OSError, ValueError):  # treated as absent: they are made again
                entry = files.unseal(files.read(path, MAX_RECORD_BYTES))
                if isinstance(entry.get("trials"), list) and isinstance(entry.get("declared"), dict):
                    found.append(entry)
        return found

    def folder(self, name: str) -> Path:
        """Return a folder of the store, created if it does not exist.

        Parameters
        ----------
        name : str

        Returns
        -------
        Path

        Raises
        ------
        UserError
            If it can't be created.
        """
        folder = self.root / name
        locks.make(folder)
        return folder
