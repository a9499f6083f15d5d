"""The feature cache on disk: addressed by what was declared, written so that nothing done is lost.

A shelf is one folder of the store: the features of one network, one input size, one way of computing. Its
shards are immutable pairs of files, `NAME.npy` with the rows and `NAME.json` with the images they belong to;
the second is written last, so a shard without it does not count.

A small shard holds fewer than `SHARD_ROWS` rows. As soon as those of a machine have as many together, a large
one is made of them and they are deleted, by this process or another; large ones stay for good.

N: rows. D: features a row.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import UserError
from transfer.ids import Ids, firsts, from_hex, to_hex
from transfer.index import Index, Places

SCHEMA_VERSION = 1
TRIALS = Path("trials")
SHARD_ROWS = 4096
# A row's place: the number of its shard times this, and its row there.
PLACES = 2**32

Array = npt.NDArray[np.float32]


def sha256(data: bytes | memoryview) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(declared: dict[str, Any]) -> str:
    """The key of declared data: sha256 of its canonical JSON."""
    return sha256(json.dumps(declared, sort_keys=True, separators=(",", ":")).encode())


@dataclass(frozen=True)
class _Shard:
    manifest: Path
    shape: tuple[int, int]
    seconds: float
    made_on: str

    @property
    def rows(self) -> Path:
        return self.manifest.with_suffix(".npy")


@dataclass(frozen=True)
class MadeFile:
    """A file that the program made and kept, with what making it took."""

    path: Path
    sha256: str
    seconds: float
    made_on: str


class Store:
    """A folder of shelves, of files that were made rather than given, and of what trials of engines found."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def shelf(self, declared: dict[str, Any]) -> Shelf:
        """The shelf of what is declared; its folder is made when the first rows are kept."""
        key = key_of(declared)
        return Shelf(self.folder(Path("features")) / key[:32], key, declared)

    def made(self, kind: str, declared: dict[str, Any]) -> MadeFile | None:
        """The file of a kind made from what is declared; None if there is none, or not as it was written."""
        path = self._made_path(kind, declared)
        try:
            told = json.loads(path.with_suffix(".json").read_bytes())
            if file_sha256(path) == told["sha256"]:
                return MadeFile(path, told["sha256"], float(told["seconds"]), str(told["made_on"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # as good as absent: it is made again
        return None

    def keep(
        self, kind: str, declared: dict[str, Any], data: bytes, seconds: float, made_on: str
    ) -> MadeFile:
        """Keep a file of a kind, made from what is declared, which took `seconds` on the machine `made_on`."""
        path = self._made_path(kind, declared)
        made = MadeFile(path, sha256(data), seconds, made_on)
        told = {"sha256": made.sha256, "seconds": seconds, "made_on": made_on}
        _write(path, data)
        _write(path.with_suffix(".json"), json.dumps(told).encode())
        return made

    def _made_path(self, kind: str, declared: dict[str, Any]) -> Path:
        return self.folder(Path(kind)) / f"{key_of(declared)[:32]}.safetensors"

    def trials(self, declared: dict[str, Any]) -> list[dict[str, Any]]:
        """What trials of engines found where and on what is declared; none if there were none."""
        for entry in self._trials(f"{key_of(declared)[:32]}.json"):
            return list(entry["trials"])
        return []

    def keep_trials(self, declared: dict[str, Any], trials: Sequence[dict[str, Any]]) -> None:
        """Keep what trials of engines found, in place of what was kept before."""
        path = self.folder(TRIALS) / f"{key_of(declared)[:32]}.json"
        _write(path, json.dumps({"declared": declared, "trials": list(trials)}, indent=1).encode())

    def all_trials(self) -> list[dict[str, Any]]:
        """Every `declared` with its `trials`."""
        return self._trials("*.json")

    def _trials(self, pattern: str) -> list[dict[str, Any]]:
        found = []
        for path in sorted((self.root / TRIALS).glob(pattern)):
            with contextlib.suppress(OSError, ValueError):  # as good as absent: they are made again
                entry = json.loads(path.read_bytes())
                if isinstance(entry, dict) and isinstance(entry.get("trials"), list) and "declared" in entry:
                    found.append(entry)
        return found

    def folder(self, name: Path) -> Path:
        """A folder of the store, made where needed. Raises `UserError` where it can't be."""
        folder = self.root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"can't use {self.root} as the store ({error.strerror}); name another by --store"
            ) from error
        return folder


class Shelf:
    """Feature rows by image id (the sha256 of the image's bytes)."""

    def __init__(self, folder: Path, key: str, declared: dict[str, Any]) -> None:
        self.folder = folder
        self.key = key
        self._declared = declared
        self.damaged: list[str] = []
        """Names of shards that were set aside because their bytes were not what was written."""
        self._numbers = count()
        self._shards: dict[int, _Shard] = {}
        self._small: dict[int, tuple[Ids, Array]] = {}
        """Small shards in memory, since another process may merge them and delete their files."""
        self._index = Index()
        opened = {folder / "key.json"}
        # What another process merges in the meantime lies in a new shard: listed until there is none.
        while found := set(folder.glob("*.json")) - opened - {s.manifest for s in self._shards.values()}:
            for manifest in sorted(found):
                self._open(manifest)
            opened |= found

    def holds(self, ids_N32: Ids) -> npt.NDArray[np.bool_]:
        """Which of the images have a row here."""
        return self._index.find(ids_N32) >= 0

    def append(self, ids_N32: Ids, x_ND: Array, seconds: float, made_on: str) -> None:
        """Keep rows `x_ND` (N, D) float32 of the images `ids_N32`, which took `seconds` on `made_on`.

        They are durable on return.
        """
        if not (self.folder / "key.json").exists():
            self.folder.mkdir(exist_ok=True)
            _write(self.folder / "key.json", json.dumps(self._declared, indent=1, sort_keys=True).encode())
        self._write(ids_N32, x_ND, seconds, made_on)
        self._merge_gathered(made_on)

    def gather(self, ids_N32: Ids) -> Array:
        """Rows (N, D) of the images, in their order; `KeyError` where one is not held."""
        shard_N, row_N = np.divmod(self._places(ids_N32), PLACES)
        numbers = np.unique(shard_N).tolist()
        width = self._shards[numbers[0]].shape[1] if numbers else 0
        x_ND = np.empty((len(ids_N32), width), np.float32)
        for number in numbers:
            wanted_N = shard_N == number
            x_ND[wanted_N] = self._rows(number)[row_N[wanted_N]]
        return x_ND

    def seconds(self, ids_N32: Ids, made_on: str) -> float | None:
        """Seconds that computing the images' rows took, whenever that was; None if not all were `made_on`."""
        places = np.unique(self._places(ids_N32))
        numbers, counts = np.unique(places // PLACES, return_counts=True)
        shards = [self._shards[number] for number in numbers.tolist()]
        if any(shard.made_on != made_on for shard in shards):
            return None
        return float(np.dot([shard.seconds / shard.shape[0] for shard in shards], counts))

    def merge(self) -> None:
        """Merge small shards into large ones; killed at any moment, it loses nothing."""
        for machine in sorted({self._shards[number].made_on for number in self._small}):
            self._merge(machine)

    def _places(self, ids_N32: Ids) -> Places:
        place_N = self._index.find(ids_N32)
        if (place_N < 0).any():
            raise KeyError(to_hex(ids_N32[place_N < 0][:1])[0])
        return place_N

    def _rows(self, number: int) -> Array:
        if number in self._small:
            return self._small[number][1]
        rows: Array = np.load(self._shards[number].rows, mmap_mode="r", allow_pickle=False)
        return rows

    def _small_of(self, made_on: str) -> list[int]:
        return [number for number in self._small if self._shards[number].made_on == made_on]

    def _merge_gathered(self, made_on: str) -> None:
        if sum(self._shards[number].shape[0] for number in self._small_of(made_on)) >= SHARD_ROWS:
            self._merge(made_on)

    def _merge(self, made_on: str) -> None:
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
            # Another process may merge at the same time and have deleted them already.
            shard.manifest.unlink(missing_ok=True)
            shard.rows.unlink(missing_ok=True)

    def _write(self, ids_N32: Ids, x_ND: Array, seconds: float, made_on: str) -> None:
        assert len(ids_N32) == len(x_ND)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(x_ND, np.float32), allow_pickle=False)
        shard = _Shard(self.folder / f"{uuid.uuid4().hex}.json", x_ND.shape, seconds, made_on)
        told = {
            "schema_version": SCHEMA_VERSION,
            "ids": to_hex(ids_N32),
            "shape": list(x_ND.shape),
            "sha256": sha256(buffer.getbuffer()),
            "seconds": seconds,
            "made_on": made_on,
        }
        _write(shard.rows, buffer.getbuffer())
        _write(shard.manifest, json.dumps(told).encode())
        self._add(shard, ids_N32, x_ND)

    def _add(self, shard: _Shard, ids_N32: Ids, x_ND: Array) -> None:
        number = next(self._numbers)
        self._shards[number] = shard
        self._index.add(ids_N32, number * PLACES + np.arange(len(ids_N32)))
        if len(ids_N32) < SHARD_ROWS:
            self._small[number] = (ids_N32, np.array(x_ND, np.float32))

    def _open(self, manifest: Path) -> None:
        try:
            shard, ids_N32, x_ND = _read_shard(manifest)
        except FileNotFoundError:  # merged by another process since the folder was listed
            return
        except (ValueError, KeyError, TypeError):
            self.damaged.append(manifest.stem)
            for path in (manifest, manifest.with_suffix(".npy")):
                with contextlib.suppress(OSError):  # gone, or nothing can be written here
                    path.rename(path.with_name(path.name + ".corrupt"))
            return
        self._add(shard, ids_N32, x_ND)
        with contextlib.suppress(UserError):  # who only reads needs no right to write
            self._merge_gathered(shard.made_on)


def _read_shard(manifest: Path) -> tuple[_Shard, Ids, Array]:
    """A shard whose bytes are what its manifest says; `ValueError`, `KeyError` or `TypeError` otherwise."""
    told = json.loads(manifest.read_bytes())
    shard = _Shard(manifest, tuple(told["shape"]), float(told["seconds"]), str(told["made_on"]))
    if told["schema_version"] != SCHEMA_VERSION or file_sha256(shard.rows) != told["sha256"]:
        raise ValueError(f"{shard.rows} is not what {manifest} says")
    ids_N32 = from_hex(told["ids"])
    x_ND = np.load(shard.rows, mmap_mode="r", allow_pickle=False)
    if x_ND.shape != shard.shape or len(ids_N32) != len(x_ND):
        raise ValueError(f"{shard.rows} is not what {manifest} says")
    return shard, ids_N32, x_ND


def _write(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all, and durably: temporary beside it, fsync, rename, fsync the folder."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(
            f"can't write to the store at {path.parent} ({error.strerror}); what was done is kept"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
