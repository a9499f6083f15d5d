"""What is known of image files that were read before, so that a file that has not changed is not read again.

A file is known by its path, size, times and inode; one behind a URL by its size and what the server says of its
bytes. As in git's index, an entry made within the resolution of the clock
of the file's last change is not kept, since a second change in that time would not show
(https://git-scm.com/docs/racy-git).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from transfer.system.remote import RemotePath, known_stamp

# Changes of the table, or of what a header says, change this number: older tables are made again.
VERSION = 1
# Times of files on FAT have a resolution of two seconds; a server's clock may be a little behind.
RESOLUTION_NS = 3_000_000_000
# Paths asked for in one query; SQLite allows 999 values in any version.
PATHS_A_QUERY = 900
# Seconds to wait for another process that writes.
TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class Header(NamedTuple):
    """What reading a file once tells of it."""

    sha256: bytes
    height: int
    width: int
    bits: int
    """Of the largest 16-bit value; 0 of an image of 8 bits."""
    is_heif: bool


Stamp = tuple[int, int, int, int]
"""Size, times of the last change of contents and of status in nanoseconds, and inode."""

Value = TypeVar("Value")
# A stamp and a header; behind them in the table a checksum of both and the path: SQLite has none of its own.
_ROW, _CHECK = struct.Struct("<qqqQ32siih?"), struct.Struct("<I")


class KnownFiles:
    """A table of files in an SQLite database.

    It saves time only: where it can't be read or written, files are read as if none were known.

    Parameters
    ----------
    path : Path, optional
        The database, made when it is first written to; None knows no files and keeps none.
    rehash : bool
        Whether to know no files all the same; what is read then is kept.
    """

    def __init__(self, path: Path | None = None, *, rehash: bool = False) -> None:
        self.path = path
        self.rehash = rehash

    def find(self, folder: Path, names: Sequence[str]) -> list[Header | None]:
        """Return the headers of files in a folder that are as they were when they were kept; None of the others."""
        if self.rehash or self.path is None or not self.path.exists():
            return [None] * len(names)
        paths = _absolute(folder, names)

        def look_up(database: sqlite3.Connection) -> dict[bytes, bytes]:
            found: dict[bytes, bytes] = {}
            for start in range(0, len(paths), PATHS_A_QUERY):
                part = paths[start : start + PATHS_A_QUERY]
                marks = ",".join("?" * len(part))
                found |= database.execute(f"select path, row from files where path in ({marks})", part)
            return found

        rows = self._run(look_up, dict[bytes, bytes]())
        return [_header(path, rows.get(path, b"")) for path in paths]

    def keep(self, folder: Path, read: Iterable[tuple[str, Stamp | None, Header]], began_ns: int) -> None:
        """Keep the headers of files in a folder.

        Parameters
        ----------
        folder : Path
        read : iterable of (str, Stamp, Header)
            The name of each file in it, and its stamp from before it was read.
        began_ns : int
            Time in nanoseconds since 1970 at which reading began, or earlier.
        """
        if self.path is None:
            return
        read, rows = list(read), []
        paths = _absolute(folder, [name for name, _, _ in read])
        for path, (_, own, header) in zip(paths, read, strict=True):
            if own and max(own[1:3]) < began_ns - RESOLUTION_NS:
                row = _ROW.pack(*own, *header)
                rows.append((path, row + _checksum(path, row)))
        if rows:
            self._run(
                lambda database: database.executemany("insert or replace into files values (?, ?)", rows),
                None,
            )

    def _run(self, action: Callable[[sqlite3.Connection], Value], default: Value) -> Value:
        """Return what a transaction returns, or the default where it fails; a damaged database is deleted."""
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=TIMEOUT_S)) as database, database:
                if not _is_made(database):
                    database.execute("begin immediate")  # of two processes one makes the table, whole
                    if not _is_made(database):
                        database.execute("drop table if exists files")
                        database.execute("create table files (path blob primary key, row blob) without rowid")
                        database.execute(f"pragma user_version = {VERSION}")
                return action(database)
        except (
            sqlite3.OperationalError,
            OSError,
        ) as error:  # locked, a full disk, a folder that can't be written to
            log.debug("files are not looked up in %s: %s", self.path, error)
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s); files are read again", self.path, error)
            with contextlib.suppress(OSError):
                self.path.unlink()
        return default


def _is_made(database: sqlite3.Connection) -> bool:
    return bool(database.execute("pragma user_version").fetchone() == (VERSION,))


def stamp(path: str | bytes | Path) -> Stamp | None:
    """Return what tells whether a file has changed; None where there is no file, as in a container."""
    if isinstance(path, RemotePath) or (isinstance(path, bytes) and not path.startswith(b"/")):
        return known_stamp(os.fsdecode(path))
    try:
        found = os.stat(path)  # noqa: PTH116 - faster than Path.stat, and called for every file
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _absolute(folder: Path, names: Iterable[str]) -> list[bytes]:
    """Return absolute paths, or URLs, as bytes, the keys of the table; joining text is faster than `Path`."""
    begin = f"{folder.absolute()}/"
    return [os.fsencode(name if name.startswith("/") else begin + name) for name in names]


def _header(path: bytes, row: bytes) -> Header | None:
    """Return the header in a row if the file has still the stamp in it."""
    body = row[: _ROW.size]
    if len(row) != _ROW.size + _CHECK.size or row[_ROW.size :] != _checksum(path, body):
        return None
    values = _ROW.unpack(body)
    return Header(*values[4:]) if values[:4] == stamp(path) else None


def _checksum(path: bytes, body: bytes) -> bytes:
    return _CHECK.pack(zlib.crc32(path + body))
