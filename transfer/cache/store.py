"""What is kept on disk, addressed by what was declared: features, files that were made, trials of engines."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transfer.cache import feature_table, locks
from transfer.cache.feature_table import FeatureTable
from transfer.cache.locks import SharedLock
from transfer.system import files
from transfer.system.content_ids import Ids
from transfer.system.errors import UserError

FEATURES, TRIALS = "features", "trials"
MADE_KINDS = ("weights", "calibrated")
# In the folder of a file that was made: which file, and what it depends on.
MADE = "made.json"
# The record of a file, or of trials, is a few kilobytes.
MAX_RECORD_BYTES = 4_000_000


def key_of(declared: dict[str, Any]) -> str:
    """The key of declared data: sha256 of its canonical JSON."""
    return files.sha256(json.dumps(declared, sort_keys=True, separators=(",", ":")).encode())


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MadeFile:
    """A file that the program made and kept, with what making it took."""

    path: Path
    sha256: str
    seconds: float
    made_on: str
    lock: SharedLock | None = field(default=None, compare=False, repr=False)


def _named(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256[:32]}.safetensors"


class Store:
    """A folder of tables, of files that were made rather than given, and of what trials of engines found."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def table(self, declared: dict[str, Any]) -> FeatureTable:
        """The table of what is declared; its folder is made when the first rows are kept."""
        key = key_of(declared)
        return FeatureTable(self.folder(FEATURES) / key[:32], key, declared)

    def listed(self, declared: dict[str, Any]) -> Ids:
        """The ids (N, 32) of the images that the table of what is declared lists; see `feature_table.listed`."""
        return feature_table.listed(self.folder(FEATURES) / key_of(declared)[:32])

    def made(self, kind: str, declared: dict[str, Any]) -> MadeFile | None:
        """The file of a kind made from what is declared; None if there is none, or not as it was written."""
        folder = self._made_folder(kind, declared)
        lock = locks.hold(folder)
        if not lock:  # what comes from here on may be pruned before it is held
            return None
        try:
            record = files.unsealed(files.read(folder / MADE, MAX_RECORD_BYTES))
            made = MadeFile(
                _named(folder, record["sha256"]),
                record["sha256"],
                float(record["seconds"]),
                str(record["made_on"]),
                lock,
            )
            if files.file_sha256(made.path) != made.sha256:
                raise ValueError("not what was written")
        except FileNotFoundError:
            return None
        except Exception:  # damaged, or sealed with whatever in it
            log.warning("a damaged file is made again: %s", folder)
            return None
        locks.mark(folder)
        return made

    def keep(
        self, kind: str, declared: dict[str, Any], data: bytes, seconds: float, made_on: str
    ) -> MadeFile:
        """Keep a file of a kind, made from what is declared, which took `seconds` on the machine `made_on`."""
        folder = self._made_folder(kind, declared)
        lock = locks.hold_new(folder)
        # Whoever else makes it may have made other bytes, and use them: each has its own name.
        path = _named(folder, files.sha256(data))
        digest = files.write(path, data)
        record = {"declared": declared, "sha256": digest, "seconds": seconds, "made_on": made_on}
        files.write(folder / MADE, files.sealed(record))
        return MadeFile(path, digest, seconds, made_on, lock)

    def _made_folder(self, kind: str, declared: dict[str, Any]) -> Path:
        return self.folder(kind) / key_of(declared)[:32]

    def trials(self, declared: dict[str, Any]) -> list[dict[str, Any]]:
        """What trials of engines found where and on what is declared; none if there were none."""
        name = f"{key_of(declared)[:32]}.json"
        for entry in self._trials(name):
            locks.mark(self.root / TRIALS / name)
            return list(entry["trials"])
        return []

    def keep_trials(self, declared: dict[str, Any], trials: Sequence[dict[str, Any]]) -> None:
        """Keep what trials of engines found, in place of what was kept before."""
        path = self.folder(TRIALS) / f"{key_of(declared)[:32]}.json"
        files.write(path, files.sealed({"declared": declared, "trials": list(trials)}))

    def all_trials(self) -> list[dict[str, Any]]:
        """Every `declared` with its `trials`."""
        return self._trials("*.json")

    def _trials(self, pattern: str) -> list[dict[str, Any]]:
        found = []
        for path in sorted((self.root / TRIALS).glob(pattern)):
            with contextlib.suppress(OSError, ValueError):  # treated as absent: they are made again
                entry = files.unsealed(files.read(path, MAX_RECORD_BYTES))
                if isinstance(entry.get("trials"), list) and isinstance(entry.get("declared"), dict):
                    found.append(entry)
        return found

    def folder(self, name: str) -> Path:
        """A folder of the store, made where needed. Raises `UserError` where it can't be."""
        folder = self.root / name
        try:
            locks.make(folder)
        except OSError as error:
            raise UserError(
                f"can't use {self.root} as the store ({error.strerror}); name another by `store`"
            ) from error
        return folder
