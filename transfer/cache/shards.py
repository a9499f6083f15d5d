"""Shards: immutable Parquet files of feature rows and the images they belong to, named by the sha256 of their bytes.

Each is written beside, flushed and renamed into place: a file of such a name is whole. Its name covers every byte, the
footer too; pages have checksums besides, for other readers. A column is one page, neither encoded nor compressed, and
the record in the metadata says where its values are, so that rows are mapped into memory.

A shard of version 2 (see `old_shards`) is read here as well, and never written.

N: rows. D: features a row.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import operator
import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.cache import old_shards
from transfer.cache.rows import BITS, FLOAT, Array, StoredRows, as_column
from transfer.system import files
from transfer.system.content_ids import Ids
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.text import first_line

VERSION = 3
SET_ASIDE = ".corrupt"
# In the metadata of a file: what its features depend on, the seconds they took and the machine, as JSON.
RECORD = b"transfer"
# Of a page of Parquet, and of a file.
MAX_BYTES = 2**31 - 1
_NAME = re.compile(r"[0-9a-f]{64}\.parquet|[0-9a-f]{32}\.json")


class Damaged(ValueError):
    """A shard that is not what was written; the message is the reason."""


class NewerVersion(Exception):
    """A shard that a newer version of this program wrote: not read here, and not damaged."""


@dataclass(frozen=True)
class Shard:
    """The location of a shard, and what it says of its rows."""

    path: Path
    declared: Any
    """What its features depend on."""
    shape: tuple[int, int]
    seconds: float
    """Time that computing its rows took."""
    made_on: str
    start: int
    """Bytes before the rows in their file."""
    dtype: str = FLOAT

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.shape[1] * np.dtype(self.dtype).itemsize

    def load(self, *, mapped: bool = True) -> Array:
        """Return its rows `(N, D)`, mapped into memory or read; raise `FileNotFoundError` if they are gone."""
        rows = _files(self.path)[-1]
        with _damage(self.path):
            if mapped:
                return np.memmap(rows, self.dtype, "r", self.start, self.shape)
            return np.fromfile(rows, self.dtype, math.prod(self.shape), offset=self.start).reshape(self.shape)

    def load_rows(self, row_N: npt.NDArray[np.int64]) -> StoredRows:
        """Read some of its rows and no others; raise `FileNotFoundError` if they are gone."""
        x_ND = np.empty((len(row_N), self.shape[1]), self.dtype)
        with _damage(self.path), files.open_file(_files(self.path)[-1]) as file:
            for own_D, row in zip(x_ND, row_N.tolist(), strict=True):
                file.seek(self.start + row * self.row_bytes)
                if file.readinto(own_D.data) < self.row_bytes:
                    raise Damaged("its rows are cut short")
        return x_ND


def list_shards(folder: Path) -> set[Path]:
    """Return the shards in a folder."""
    return {path for path in files.list_matching(folder) if _NAME.fullmatch(path.name)}


def write(
    folder: Path, declared: Any, ids_N32: Ids, x_ND: StoredRows, seconds: float, made_on: str, nonce: str = ""
) -> Shard:
    """Write a shard durably.

    Parameters
    ----------
    folder : Path
        Named by the key of what is declared.
    declared : JSON value
        What the features depend on.
    ids_N32 : (N, 32) uint8
    x_ND : (N, D) float32 or uint16
        As many as a page of Parquet has at most: 20,000 rows, 2 GB.
    seconds : float
        Time that computing the rows took.
    made_on : str
        Machine that computed them.
    nonce : str
        Makes the bytes other than those of all shards before; drawn if none is given.

    Returns
    -------
    Shard

    Raises
    ------
    UserError
        If it can't be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    dtype = BITS if x_ND.dtype == np.uint16 else FLOAT
    x_ND, ids_N32 = np.ascontiguousarray(x_ND, dtype), np.ascontiguousarray(ids_N32)
    count, width = x_ND.shape
    assert len(ids_N32) == count
    number, rows = as_column(x_ND)
    fields = [pa.field("id", pa.binary(32), nullable=False), pa.field("features", number, nullable=False)]
    # From buffers: where an array is given, pyarrow imports pandas to see what it is.
    ids = pa.Array.from_buffers(pa.binary(32), count, [None, pa.py_buffer(ids_N32)])
    buffer = io.BytesIO()
    with parquet.ParquetWriter(
        buffer,
        pa.schema(fields),
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        data_page_size=MAX_BYTES,
    ) as writer:
        writer.write_table(pa.Table.from_arrays([ids, rows], schema=pa.schema(fields)))
        record = {
            "version": VERSION,
            # Merging deletes what it merged: what it writes may never have the name of anything that was there.
            "nonce": nonce or uuid.uuid4().hex,
            "declared": declared,
            "seconds": seconds,
            "made_on": made_on,
            "shape": [count, width],
            "ids_start": bytes(buffer.getbuffer()[: ids_N32.nbytes + 1000]).find(ids_N32.tobytes()),
            "ids_sha256": files.sha256(ids_N32.data),
            "rows_start": buffer.tell() - x_ND.nbytes,
            **({"dtype": dtype} if dtype != FLOAT else {}),
        }
        writer.add_key_value_metadata({RECORD: json.dumps(record)})
    data = buffer.getbuffer()
    written_K = np.frombuffer(data, "u1", x_ND.nbytes, record["rows_start"])
    are_pages = record["ids_start"] > 0 and np.array_equal(written_K, x_ND.view("u1").ravel())
    if not are_pages or len(data) > MAX_BYTES:
        raise UserError(f"can't keep {count:,} rows of {width:,} features as one page of Parquet")
    path = folder / f"{files.sha256(data)}.parquet"
    files.write(path, data)
    return Shard(path, declared, (count, width), seconds, made_on, record["rows_start"], dtype)


def read(path: Path, *, check: bool = True) -> tuple[Shard, Ids]:
    """Read what a shard says of itself, and its images.

    Parameters
    ----------
    path : Path
    check : bool
        Whether every byte is checked; else the rows, which take a hundred times as long, are not read.

    Returns
    -------
    shard : Shard
    ids : (N, 32) uint8

    Raises
    ------
    Damaged
        If it is not what was written.
    NewerVersion
        If a newer version of the program wrote it.
    FileNotFoundError
        If it is gone.
    """
    with _damage(path):
        if path.suffix == old_shards.MANIFEST:
            ids_N32, about = old_shards.read(path, check=check)
            return Shard(path, **about), ids_N32
        with files.open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if check and (size > MAX_BYTES or files.file_sha256(path) != path.stem):
                raise Damaged("its bytes are not those that were written")
            return _parse(path, file, size)


def read_headers(folder: Path) -> Iterator[tuple[Shard, Ids]]:
    """Yield what `read` returns of each shard in a folder, unchecked; what can't be read is left to those who check."""
    for path in sorted(list_shards(folder)):
        with contextlib.suppress(Damaged, NewerVersion, OSError):
            yield read(path, check=False)


def set_aside(path: Path) -> None:
    """Rename a damaged shard, so that it is no longer used and can still be examined."""
    for file in _files(path):
        with contextlib.suppress(OSError):  # gone, or nothing can be written here
            file.rename(file.with_name(file.name + SET_ASIDE))


def delete(path: Path) -> None:
    """Delete a shard, a manifest first; another process may have deleted it already.

    A shard that can't be deleted stays: its rows are still right.
    """
    with contextlib.suppress(OSError):
        for file in _files(path):
            file.unlink(missing_ok=True)


def can_delete(path: Path) -> bool:
    """Return whether this user may delete a shard: with the sticky bit, only its owner and the folder's owner may."""
    try:
        folder = path.parent.stat()
        owners = {folder.st_uid, path.stat().st_uid}
    except OSError:
        return False
    return os.access(path.parent, os.W_OK) and (not folder.st_mode & stat.S_ISVTX or os.geteuid() in owners)


def list_abandoned(folder: Path) -> list[Path]:
    """Return what killed processes left in a folder: files begun, and rows of version 2 without a manifest."""
    return files.list_abandoned(folder) + old_shards.orphans(folder)


def _files(path: Path) -> list[Path]:
    return [path, path.with_suffix(old_shards.ROWS)] if path.suffix == old_shards.MANIFEST else [path]


def _parse(path: Path, file: BufferedReader, size: int) -> tuple[Shard, Ids]:
    """Return what a file of `size` bytes says of itself, and its images, which are checked."""
    from pyarrow import parquet

    # Asked what hostile footers say of columns, pyarrow may end the process; of this record it does not.
    record = json.loads(parquet.read_metadata(file).metadata[RECORD])
    version = record["version"]
    if isinstance(version, int) and version > VERSION:
        raise NewerVersion(f"version {version}, where this program writes {VERSION}")
    declared, seconds = record["declared"], float(record["seconds"])
    if (
        version != VERSION
        or files.record_sha256(declared)[:32] != path.parent.name
        or not 0 <= seconds < math.inf
    ):
        raise Damaged("it is another table's, or of no version")
    numbers = (*record["shape"], record["ids_start"], record["rows_start"])
    count, width, ids_start, start = map(operator.index, numbers)
    dtype = {FLOAT: FLOAT, BITS: BITS}[record.get("dtype", FLOAT)]
    end = start + np.dtype(dtype).itemsize * count * width
    if min(numbers) <= 0 or max(ids_start + 32 * count, end) > size:
        raise Damaged("rows are missing")
    file.seek(ids_start)
    ids = file.read(32 * count)
    if files.sha256(ids) != record["ids_sha256"]:
        raise Damaged("its images are not those that were written")
    shard = Shard(path, declared, (count, width), seconds, str(record["made_on"]), start, dtype)
    return shard, np.frombuffer(ids, np.uint8).reshape(count, 32)


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raise `Damaged` for what is damaged, and not for what is gone or for temporary faults of the machine."""
    try:
        yield
    except (Damaged, NewerVersion, MemoryError, FileNotFoundError):
        raise
    except files.Unfit as error:
        raise Damaged(f"{error.filename} is {error.strerror}") from error
    except Exception as error:  # whoever names a file by its bytes may have written anything into it
        number = error.errno if isinstance(error, OSError) else None  # pyarrow's have none
        if number == errno.ESTALE:  # deleted by another machine
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        if number is not None or is_out_of_memory(error):
            raise  # of the moment: a disk, a limit
        raise Damaged(f"not readable: {first_line(error)}") from error
