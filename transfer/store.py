"""The feature cache on disk: addressed by what was declared, written so that nothing done is lost.

A shelf is one folder of the store: the features of one network, one input size, one way of computing. Its
shards are immutable pairs of files, `NAME.npy` with the rows and `NAME.json` with the images they belong to;
the second is written last, so a shard without it does not count.

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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import UserError

SCHEMA_VERSION = 1
SHARD_ROWS = 4096

Array = npt.NDArray[np.float32]


def sha256(data: bytes) -> str:
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
    name: str
    ids: tuple[str, ...]
    x_ND: Array
    """Mapped from the file, which may be deleted meanwhile by another process that merged it."""
    seconds: float
    made_on: str


@dataclass(frozen=True)
class MadeFile:
    """A file that the program made and kept, with what making it took."""

    path: Path
    sha256: str
    seconds: float
    made_on: str


class Store:
    """A folder of shelves, and of weights that were made rather than given."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def shelf(self, declared: dict[str, Any]) -> Shelf:
        """The shelf of what is declared; made on first use."""
        key = key_of(declared)
        folder = self.folder(Path("features") / key[:32])
        if not (folder / "key.json").exists():
            _write(folder / "key.json", json.dumps(declared, indent=1, sort_keys=True).encode())
        return Shelf(folder, key)

    def weights(self, declared: dict[str, Any]) -> MadeFile | None:
        """The weights that were made from what is declared; None if there are none, or not what was written."""
        path = self._weights_path(declared)
        try:
            told = json.loads(path.with_suffix(".json").read_bytes())
            if file_sha256(path) == told["sha256"]:
                return MadeFile(path, told["sha256"], float(told["seconds"]), str(told["made_on"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # as good as absent: they are made again
        return None

    def keep_weights(self, declared: dict[str, Any], data: bytes, seconds: float, made_on: str) -> MadeFile:
        """Keep weights made from what is declared, which took `seconds` on the machine `made_on`."""
        path = self._weights_path(declared)
        made = MadeFile(path, sha256(data), seconds, made_on)
        told = {"sha256": made.sha256, "seconds": seconds, "made_on": made_on}
        _write(path, data)
        _write(path.with_suffix(".json"), json.dumps(told).encode())
        return made

    def _weights_path(self, declared: dict[str, Any]) -> Path:
        return self.folder(Path("weights")) / f"{key_of(declared)[:32]}.safetensors"

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

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        self.damaged: list[str] = []
        """Names of shards that were set aside because their bytes were not what was written."""
        self._rows: dict[str, tuple[_Shard, int]] = {}
        for manifest in sorted(folder.glob("*.json")):
            if manifest.name != "key.json":
                self._open(manifest)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._rows

    def append(self, ids: Sequence[str], x_ND: Array, seconds: float, made_on: str) -> None:
        """Keep rows `x_ND` (N, D) float32 of the images `ids`, which took `seconds` on the machine `made_on`.

        They are durable on return.
        """
        assert len(ids) == len(x_ND)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(x_ND, np.float32), allow_pickle=False)
        data = buffer.getvalue()
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "ids": list(ids),
            "shape": list(x_ND.shape),
            "sha256": sha256(data),
            "seconds": seconds,
            "made_on": made_on,
        }
        name = uuid.uuid4().hex
        _write(self.folder / f"{name}.npy", data)
        _write(self.folder / f"{name}.json", json.dumps(manifest).encode())
        self._open(self.folder / f"{name}.json")

    def gather(self, ids: Sequence[str]) -> Array:
        """Rows (N, D) of the images `ids`, in their order; `KeyError` where one is not held."""
        rows = [self._rows[image_id] for image_id in ids]
        x_ND = np.empty((len(rows), rows[0][0].x_ND.shape[1] if rows else 0), np.float32)
        for i, (shard, row) in enumerate(rows):
            x_ND[i] = shard.x_ND[row]
        return x_ND

    def seconds(self, ids: Sequence[str], made_on: str) -> float | None:
        """Seconds that computing the rows of `ids` took, whenever that was; None if not all were `made_on`."""
        shards = {image_id: self._rows[image_id][0] for image_id in ids}
        if any(shard.made_on != made_on for shard in shards.values()):
            return None
        return sum(shard.seconds / len(shard.ids) for shard in shards.values())

    def merge(self) -> None:
        """Merge small shards into large ones; killed at any moment, it loses nothing."""
        small = {shard.name: shard for shard, _ in self._rows.values() if len(shard.ids) < SHARD_ROWS}
        for machine in sorted({shard.made_on for shard in small.values()}):
            self._merge([shard for shard in small.values() if shard.made_on == machine], machine)

    def _merge(self, shards: Sequence[_Shard], made_on: str) -> None:
        if len(shards) < 2:
            return
        ids = list(dict.fromkeys(i for shard in shards for i in shard.ids if self._rows[i][0] is shard))
        for start in range(0, len(ids), SHARD_ROWS):
            part = ids[start : start + SHARD_ROWS]
            seconds = sum(shard.seconds / len(shard.ids) for i in part for shard, _ in [self._rows[i]])
            self.append(part, self.gather(part), seconds, made_on)
        for shard in shards:
            # Another process may merge at the same time and have deleted them already.
            (self.folder / f"{shard.name}.json").unlink(missing_ok=True)
            (self.folder / f"{shard.name}.npy").unlink(missing_ok=True)

    def _open(self, manifest: Path) -> None:
        try:
            shard = _read_shard(manifest)
        except FileNotFoundError:  # merged by another process since the folder was listed
            return
        except (ValueError, KeyError, TypeError):
            self.damaged.append(manifest.stem)
            for path in (manifest, manifest.with_suffix(".npy")):
                with contextlib.suppress(FileNotFoundError):
                    path.rename(path.with_name(path.name + ".corrupt"))
            return
        self._rows.update({image_id: (shard, row) for row, image_id in enumerate(shard.ids)})


def _read_shard(manifest: Path) -> _Shard:
    """A shard whose bytes are what its manifest says; `ValueError`, `KeyError` or `TypeError` otherwise."""
    told = json.loads(manifest.read_bytes())
    rows = manifest.with_suffix(".npy")
    if told["schema_version"] != SCHEMA_VERSION or file_sha256(rows) != told["sha256"]:
        raise ValueError(f"{rows} is not what {manifest} says")
    x_ND = np.load(rows, mmap_mode="r", allow_pickle=False)
    if list(x_ND.shape) != told["shape"] or len(told["ids"]) != len(x_ND):
        raise ValueError(f"{rows} is not what {manifest} says")
    return _Shard(manifest.stem, tuple(told["ids"]), x_ND, float(told["seconds"]), str(told["made_on"]))


def _write(path: Path, data: bytes) -> None:
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
