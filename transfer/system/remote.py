"""Files behind URLs (`s3://bucket/photos`), as paths; fsspec reaches them.

`path_of` makes a path of what a user names. A `RemotePath` is a path like any other to code that joins, compares and
shows paths; `transfer.system.files` reads it. All errors but that there is no such file are `UserError`: they are of
the server or the network, and say nothing about the file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path, PosixPath
from typing import Any, NamedTuple

from transfer.system.errors import UserError
from transfer.system.file_systems import PACKAGES, file_system, server_errors

# A run asks for many bytes in turn of a file that it reads in pieces.
BUFFER_BYTES = 4_000_000
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(?P<chained>::.*)?://(?P<rest>.*)", re.DOTALL)
_USER = re.compile(r"^[^/]*@")
# What a server says of an object that changes with its bytes, the surest first.
_TAGS = ("ETag", "etag", "generation", "md5Hash", "created", "LastModified", "mtime")

Stamp = tuple[int, int, int, int]

_full: dict[str, str] = {}
"""URLs with a password or a query, by the text that stands for them in messages and results."""
_stamps: dict[str, Stamp] = {}
"""What was last said of files: size, and a hash of the tag."""


class Entry(NamedTuple):
    """A file below a folder."""

    name: str
    """Relative to the folder."""
    stamp: Stamp


class RemotePath(PosixPath):
    """A file or a folder behind a URL; names in it are taken as they are, without `%20` and the like.

    Its parts are `s3:`, the bucket and the names below, and its text is the URL without passwords and queries.
    """

    def __str__(self) -> str:
        head, slash, rest = super().__str__().partition(":/")
        return f"{head}://{rest.lstrip('/')}" if slash and head in PACKAGES else head + slash + rest

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> Any:
        return path_of, (_full.get(str(self), str(self)),)

    def is_dir(self) -> bool:
        """Return whether there are files below it."""
        return self._kind() == "directory"

    def is_file(self) -> bool:
        """Return whether there is such a file."""
        return self._kind() == "file"

    def exists(self) -> bool:
        """Return whether there is such a file, or there are files below it."""
        return self._kind() != ""

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def resolve(self, strict: bool = False) -> RemotePath:
        """Return the path itself."""
        return self

    def absolute(self) -> RemotePath:
        """Return the path itself."""
        return self

    def samefile(self, other_path: Any) -> bool:
        """Return whether both are the same path."""
        return bool(self == other_path)

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """Open the file for reading; nothing is written through a path."""
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return io.BufferedReader(RemoteFile(self), BUFFER_BYTES)

    def stamp(self) -> Stamp:
        """Return what differs once the file was written to, as far as it is known; the server is asked once."""
        found = _stamps.get(str(self))
        return found or _remember(str(self), self._info())

    def read(self, start: int | None = None, end: int | None = None) -> bytes:
        """Read the file, or the bytes from `start` to `end`. Raises `FileNotFoundError`."""
        with _errors(self):
            data: bytes = _filesystem(self).cat_file(_address(self), start=start, end=end)
        if end is not None and len(data) > end - (start or 0):  # a server of HTTP may send all there is
            data = data[start:end]
        return data

    def write(self, data: bytes | memoryview) -> None:
        """Write the file, whole or not at all."""
        with _errors(self):
            _filesystem(self).pipe_file(_address(self), bytes(data))

    def delete(self) -> None:
        """Delete the file, if it is there."""
        with _errors(self), suppress(FileNotFoundError):
            _filesystem(self).rm_file(_address(self))

    def _kind(self) -> str:
        try:
            info = self._info()
        except FileNotFoundError:
            return ""
        if info["type"] == "file":
            _remember(str(self), info)
        return str(info["type"])

    def _info(self) -> dict[str, Any]:
        with _errors(self):
            found: dict[str, Any] = _filesystem(self).info(_address(self))
            return found


class RemoteFile(io.RawIOBase):
    """A file that is read in pieces, for a `BufferedReader`."""

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self.size = path.stamp()[0]
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position in bytes, and return it."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; return how many."""
        data = self.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def read_at(self, start: int, count: int) -> bytes:
        """Read so many bytes from a position, or those that there are."""
        end = min(start + count, self.size)
        return self.path.read(start, end) if start < end else b""


def path_of(given: str | Path) -> Path:
    """Return the path that a user named: of this machine, or behind a URL.

    Raises
    ------
    UserError
        For a URL of a kind that is not read, or with a password where none is taken.
    """
    match = None if isinstance(given, RemotePath) else _URL.match(str(given))
    if match is None:
        return Path(given) if isinstance(given, str) else given
    scheme, rest = match["scheme"], match["rest"]
    if scheme == "file" and not match["chained"] and rest.startswith("/"):
        return Path(rest)
    if scheme not in PACKAGES or match["chained"]:
        raise UserError(
            f"{scheme}{'::' if match['chained'] else '://'} is not read; give a path, or a URL that begins with "
            + ", ".join(f"{name}://" for name in (*PACKAGES, "file"))
        )
    is_http = scheme.startswith("http")
    if not is_http and _USER.search(rest):
        raise UserError(
            f"a {scheme}:// URL with a user or a password is not taken; leave both out, and name credentials in "
            "the environment or the configuration of the provider"
        )
    shown = _USER.sub("", rest).split("?")[0].split("#")[0] if is_http else rest
    path = RemotePath(f"{scheme}:/{shown}")
    if len(path.parts) < 2:
        raise UserError(f"{path} names no bucket or host; give a whole URL, such as s3://bucket/photos")
    if shown != rest:
        _full[str(path)] = f"{scheme}://{rest}"
    return path


def expand(given: str, *, urls: bool = False) -> Path:
    """Expand `~` in a path that was given as text: no shell does that in a variable or after `=`.

    Raises `UserError` for empty text, for a URL unless `urls`, and where there is no such home folder.
    """
    if not given:
        raise UserError("the name of a file or folder is empty; give one, or leave the option out")
    path = path_of(given)
    if isinstance(path, RemotePath):
        if urls:
            return path
        raise UserError(f"{path} is a URL; give a file or folder of this machine")
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(
            f"no home folder is known that {given} could stand for; give the whole path"
        ) from None


def list_files(folder: RemotePath) -> list[Entry]:
    """List the files below a folder, at any depth, in the order of names compared part by part.

    What names cannot be of a path, with empty parts or dots alone, is left out.
    """
    if folder.parts[0].startswith("http"):
        raise UserError(
            f"{folder} can't be listed; name a file that holds its images (.tar, .parquet, .arrow), or use s3:// or gs://"
        )
    with _errors(folder):
        root = _address(folder)
        found = _filesystem(folder).find(root, detail=True)
    cut = len(_filesystem(folder)._strip_protocol(root).rstrip("/")) + 1
    entries = []
    for name, info in found.items():
        name = name[cut:]
        if not {"", ".", ".."} & set(name.split("/")):
            entries.append(Entry(name, _remember(f"{folder}/{name}", info)))
    return sorted(entries, key=lambda entry: entry.name.split("/"))


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder below `folder`, and the names of folders and files in it, as `os.walk` does through links."""
    if not isinstance(folder, RemotePath):
        for base, folders, names in os.walk(folder, followlinks=True):
            yield Path(base), folders, names
        return
    with _errors(folder):
        own, filesystem = _address(folder), _filesystem(folder)
        found = filesystem.ls(own, detail=True)
    marker = filesystem._strip_protocol(own).rstrip("/")  # of an empty folder: an object of its name
    folders, names = list[str](), list[str]()
    for info in found:
        name = info["name"].rstrip("/").rsplit("/", 1)[-1]
        if info["type"] == "directory":
            folders.append(name)
        elif name and info["name"].rstrip("/") != marker:
            names.append(name)
            _remember(f"{folder}/{name}", info)
    yield folder, folders, names
    for name in folders:
        yield from walk(folder / name)


def known_stamp(url: str) -> Stamp | None:
    """Return the stamp of a file as it was listed; None for one that was not, or whose changes would not show."""
    found = _stamps.get(url)
    return found if found and found[-1] else None


def _remember(url: str, info: dict[str, Any]) -> Stamp:
    if info.get("size") is None:
        raise UserError(f"can't read {url}: the server does not say how long it is")
    tag = next((f"{name} {info[name]}" for name in _TAGS if info.get(name)), None)
    number = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8]) if tag else 0
    _stamps[url] = int(info["size"]), 0, 0, number
    return _stamps[url]


def _address(path: RemotePath) -> str:
    """Return what fsspec calls a file."""
    text = _full.get(str(path), str(path))
    return text if text.startswith("http") else text.partition("://")[2]


def _errors(path: RemotePath) -> AbstractContextManager[None]:
    return server_errors(str(path), hide=str(path) in _full)


def _filesystem(path: RemotePath) -> Any:
    if path.parts[:1] and path.parts[0].removesuffix(":") in PACKAGES:
        return file_system(path.parts[0].removesuffix(":"))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))  # a table's `/etc/passwd`
