"""Files: what is written is there whole or not at all; what is read is a file, and no longer than it may be.

What is read may lie behind a URL; what is written lies on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, NamedTuple

from transfer.system.errors import UserError
from transfer.system.remote import RemoteFile, RemotePath

# Of what keys of features, of trained blocks and of untrained weights are made from.
SCHEMA_VERSION = 2
SEAL = "checksum"
# Whoever began to write a file so long ago was killed.
ABANDONED_S = 24 * 3600
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


class Unfit(OSError):
    """No file, or one that is longer than it may be."""


def sha256(data: bytes | memoryview) -> str:
    """Return the hexadecimal sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    Anything else is refused before it is read: a read from a pipe without a writer, or from a device, may never end.

    Parameters
    ----------
    path : Path

    Returns
    -------
    BufferedReader

    Raises
    ------
    OSError
        If the file can't be opened.
    Unfit
        If it is a folder, a pipe or a device.
    """
    if isinstance(path, RemotePath):
        return path.open()  # type: ignore[no-any-return]
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise Unfit(None, "Is a directory" if stat.S_ISDIR(kind) else "not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read(path: Path, max_bytes: int) -> bytes:
    """Read a whole file of limited size.

    Parameters
    ----------
    path : Path
    max_bytes : int

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        As `open_file` does.
    Unfit
        Also if the file has more than `max_bytes` bytes.
    """
    if isinstance(path, RemotePath):  # in one request, unless its length is not known yet
        data = path.read() if path.stamp()[0] <= max_bytes else None
        if data is None or len(data) > max_bytes:
            raise Unfit(None, f"larger than {max_bytes:,} bytes", str(path))
        return data
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        # A read takes up as much memory as it asks for, whatever the file holds.
        data = file.read(size + 1) if size <= max_bytes else None
        if data is not None and len(data) > size:  # it grew, or its file system does not tell sizes
            data += file.read(max_bytes + 1 - size)
    if data is None or len(data) > max_bytes:
        raise Unfit(None, f"larger than {max_bytes:,} bytes", str(path))
    return data


def read_at(file: BufferedReader, start: int, count: int) -> bytes:
    """Read so many bytes of an open file from a position, or those that there are, without moving in it."""
    if isinstance(file.raw, RemoteFile):
        return file.raw.read_at(start, count)
    return os.pread(file.fileno(), count, start)


def file_sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes.

    Raises
    ------
    OSError
        As `open_file` does.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HashedFile(NamedTuple):
    """A file as it was when its sha256 was computed."""

    path: Path
    sha256: str
    stamp: tuple[int, ...]


def hash_file(path: Path) -> HashedFile:
    """Compute the sha256 of a file, with the stamp it had before. Raises `OSError` as `open_file` does."""
    before = stamp(path)
    return HashedFile(path, file_sha256(path), before)


def stamp(path: Path) -> tuple[int, ...]:
    """Return what differs once a file was replaced or written to: device, inode, size and time of the last change."""
    if isinstance(path, RemotePath):
        return path.stamp()
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def seal(record: dict[str, Any]) -> bytes:
    """Return an object as JSON, together with the sha256 of its contents."""
    return json.dumps({**record, SEAL: record_sha256(record)}).encode()


def unseal(data: bytes) -> dict[str, Any]:
    """Return the object that `seal` wrote.

    Raises
    ------
    ValueError
        If the bytes are not JSON, or the checksum does not match.
    """
    try:
        record: dict[str, Any] = json.loads(data)
        if record.pop(SEAL) == record_sha256(record):
            return record
    except MemoryError:
        raise
    except Exception as error:  # broken bytes fail in every way
        raise ValueError(f"not readable ({type(error).__name__})") from error
    raise ValueError("not what was written")


def record_sha256(record: dict[str, Any]) -> str:
    """Return the hexadecimal sha256 of a record's canonical JSON."""
    return sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode())


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[BufferedWriter]:
    """Open a file that is in place, whole, once the block ends: temporary file, fsync, rename, fsync of the folder.

    Parameters
    ----------
    path : Path
        Replaced if it exists; as before where the block raises.

    Yields
    ------
    io.BufferedWriter

    Raises
    ------
    UserError
        If it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            # A folder that became read-only keeps it: see `list_abandoned`.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(
            f"can't write {path} ({error.strerror or error}); what was done before is kept"
        ) from error


def write(path: Path, data: bytes | memoryview) -> str:
    """Write a file atomically and durably, as `replace_file` does.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    data : bytes or memoryview

    Returns
    -------
    str
        Hexadecimal sha256 of `data`.

    Raises
    ------
    UserError
        If it can't be written.
    """
    with replace_file(path) as file:
        file.write(data)
    return sha256(data)


def is_abandoned(path: Path) -> bool:
    """Return whether an unfinished file is too old for its writer to be alive."""
    try:
        return path.stat().st_mtime < time.time() - ABANDONED_S
    except OSError:
        return False


def list_matching(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the files that match a pattern in a folder, in order; none of one that is deleted at the same time."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(folder.glob(pattern))
    return []


def list_abandoned(folder: Path) -> list[Path]:
    """Return the temporary files in a folder that killed processes left."""
    return [
        path
        for path in list_matching(folder, ".*.tmp")
        if _TEMPORARY.fullmatch(path.name) and is_abandoned(path)
    ]


def free_bytes(folder: Path) -> int:
    """Return the bytes that the disk of a folder, which may not exist yet, has left."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free
