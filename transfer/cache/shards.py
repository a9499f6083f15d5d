"""Shards: immutable pairs of files, `NAME.npy` with feature rows and `NAME.json` with the images they belong to.

The second, the manifest, is written last: rows without it do not count. It has the sha256 of the rows and its own, so
that a damaged shard is recognised.

N: rows. D: features a row.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transfer.system import files
from transfer.system.content_ids import Ids, from_hex, to_hex
from transfer.system.errors import is_out_of_memory

# A manifest has about 70 bytes for each row, and a shard some thousand rows.
MAX_MANIFEST_BYTES = 4_000_000
# In the folder of shards, and no manifest: what the features were declared to depend on.
KEY = "key.json"
SET_ASIDE = ".corrupt"
_NAME = re.compile("[0-9a-f]{32}")

Array = npt.NDArray[np.float32]


class Damaged(ValueError):
    """A shard that is not what was written; the message is the reason."""


class NewerVersion(Exception):
    """A shard that a newer version of this program wrote: not read here, and not damaged."""


@dataclass(frozen=True)
class Shard:
    """The location of a shard, and the contents of its manifest."""

    manifest: Path
    shape: tuple[int, int]
    seconds: float
    """Time that computing its rows took."""
    made_on: str

    @property
    def rows(self) -> Path:
        """File of its rows."""
        return self.manifest.with_suffix(".npy")

    def load(self) -> Array:
        """Return its rows `(N, D)`, mapped into memory."""
        rows: Array = np.load(self.rows, mmap_mode="r", allow_pickle=False)
        return rows


def manifests(folder: Path) -> set[Path]:
    """Return the manifests in a folder of shards."""
    return set(folder.glob("*.json")) - {folder / KEY}


def write(folder: Path, ids_N32: Ids, x_ND: Array, seconds: float, made_on: str) -> Shard:
    """Write a shard durably.

    Parameters
    ----------
    folder : Path
    ids_N32 : (N, 32) uint8
    x_ND : (N, D) float32
    seconds : float
        Time that computing the rows took.
    made_on : str
        Machine that computed them.

    Returns
    -------
    Shard

    Raises
    ------
    UserError
        If it can't be written.
    """
    assert len(ids_N32) == len(x_ND)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(x_ND, np.float32), allow_pickle=False)
    shard = Shard(folder / f"{uuid.uuid4().hex}.json", x_ND.shape, seconds, made_on)
    record = {
        "schema_version": files.SCHEMA_VERSION,
        "ids": to_hex(ids_N32),
        "shape": list(x_ND.shape),
        "sha256": files.write(shard.rows, buffer.getbuffer()),
        "seconds": seconds,
        "made_on": made_on,
    }
    files.write(shard.manifest, files.sealed(record))
    return shard


def read(manifest: Path) -> tuple[Shard, Ids, Array]:
    """Read a shard and check its bytes.

    Parameters
    ----------
    manifest : Path

    Returns
    -------
    shard : Shard
    ids : (N, 32) uint8
    rows : (N, D) float32
        Mapped into memory.

    Raises
    ------
    Damaged
        If a checksum does not match.
    NewerVersion
        If a newer version of the program wrote it.
    FileNotFoundError
        If it is gone.
    """
    with _damage(manifest):
        shard, ids_N32, sha256 = _read_manifest(manifest)
        if files.file_sha256(shard.rows) != sha256:
            raise Damaged("its rows are not those that were written")
        x_ND = shard.load()
    if x_ND.shape != shard.shape or x_ND.ndim != 2 or len(ids_N32) != len(x_ND) or x_ND.dtype != np.float32:
        raise Damaged("its rows are not those of its manifest")
    return shard, ids_N32, x_ND


def read_ids(manifest: Path) -> Ids:
    """Return the images `(N, 32)` that a manifest lists, without reading the rows. Raises as `read` does."""
    with _damage(manifest):
        return _read_manifest(manifest)[1]


def _read_manifest(manifest: Path) -> tuple[Shard, Ids, str]:
    """Return a shard, its images, and the expected sha256 of its rows."""
    record = files.unsealed(files.read(manifest, MAX_MANIFEST_BYTES))
    version = record["schema_version"]
    if isinstance(version, int) and version > files.SCHEMA_VERSION:
        raise NewerVersion(f"version {version}, where this program writes {files.SCHEMA_VERSION}")
    shard = Shard(manifest, tuple(record["shape"]), float(record["seconds"]), str(record["made_on"]))
    ids_N32 = from_hex(record["ids"])
    if version != files.SCHEMA_VERSION or not 0 <= shard.seconds < math.inf:
        raise Damaged("its manifest is none of this version")
    return shard, ids_N32, record["sha256"]


@contextlib.contextmanager
def _damage(manifest: Path) -> Iterator[None]:
    """Raise `Damaged` for what is damaged, and not for what is gone or for temporary faults of the machine."""
    try:
        yield
    except (Damaged, NewerVersion, MemoryError):
        raise
    except FileNotFoundError as error:
        if (
            manifest.exists() and not manifest.with_suffix(".npy").exists()
        ):  # merging deletes the manifest first
            raise Damaged("its rows are gone") from error
        raise
    except files.Unfit as error:
        raise Damaged(f"{error.filename} is {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.ESTALE:  # deleted by another machine
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(manifest)) from error
        raise  # of the moment: a disk, a limit
    except Exception as error:  # whoever sealed a manifest may have written anything into it
        if is_out_of_memory(error):
            raise
        raise Damaged(f"its manifest or its rows: {error or type(error).__name__}") from error


def set_aside(manifest: Path) -> None:
    """Rename a damaged shard, so that it is no longer used and can still be examined."""
    for path in (manifest, manifest.with_suffix(".npy")):
        with contextlib.suppress(OSError):  # gone, or nothing can be written here
            path.rename(path.with_name(path.name + SET_ASIDE))


def delete(shard: Shard) -> None:
    """Delete a shard, the manifest first; another process may have deleted it already.

    A shard that can't be deleted stays: its rows are still right.
    """
    with contextlib.suppress(OSError):
        shard.manifest.unlink(missing_ok=True)
        shard.rows.unlink(missing_ok=True)


def can_delete(shard: Shard) -> bool:
    """Return whether this user may delete a shard: with the sticky bit, only its owner and the folder's owner may."""
    try:
        folder = shard.manifest.parent.stat()
        owners = {folder.st_uid, shard.manifest.stat().st_uid}
    except OSError:
        return False
    return os.access(shard.manifest.parent, os.W_OK) and (
        not folder.st_mode & stat.S_ISVTX or os.geteuid() in owners
    )


def orphans(folder: Path) -> list[Path]:
    """Return rows without a manifest that a killed process left; younger ones may be about to get theirs."""
    listed = {manifest.stem for manifest in manifests(folder)}
    rows = (path for path in folder.glob("*.npy") if _NAME.fullmatch(path.stem))
    return [path for path in rows if path.stem not in listed and files.is_abandoned(path)]
