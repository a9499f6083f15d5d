"""Images in tar files of WebDataset: members of one key are an image and its label.

N: members.
"""

from __future__ import annotations

import json
import tarfile
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.data.formats import IMAGE_SUFFIXES
from transfer.data.listing import is_system_name
from transfer.data.names import Names
from transfer.data.table_files import FILE, LABEL, Row, Table
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.text import first_line

SUFFIX = ".tar"
# Members that are read beside images.
CLASS, RECORD = "cls", "json"
MAX_RECORD_BYTES = 1_000_000
# Tars whose lists of members are kept in memory.
TARS_KEPT = 4096


@dataclass(frozen=True, eq=False)
class Members:
    """The files in a tar, in the order of their names, and where their bytes lie."""

    names: Names
    start_N: npt.NDArray[np.int64]
    size_N: npt.NDArray[np.int64]
    """In bytes."""

    def samples(self) -> dict[str, dict[str, int]]:
        """Return the index of each member by its key, and by what follows the key and a dot, in lower case."""
        found: dict[str, dict[str, int]] = {}
        for i, name in enumerate(self.names):
            folder, slash, base = name.rpartition("/")
            stem, _, extension = base.partition(".")
            if stem and extension:
                found.setdefault(folder + slash + stem, {})[extension.lower()] = i
        return found


def read(tar: Path, member: str, max_bytes: int) -> bytes:
    """Read a file in a tar.

    Parameters
    ----------
    tar : Path
    member : str
        Its name, as `list_members` has it.
    max_bytes : int

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If the tar can't be read, there is no such member, or it is cut short or larger than `max_bytes`.
    UserError
        If the file is no tar.
    """
    members = list_members(tar)
    at = bisect_left(members.names, member)
    if at == len(members.names) or members.names[at] != member:
        raise files.Unfit(None, f"not in {tar.name}", str(tar))
    with files.open_file(tar) as file:
        return _read(file, members, at, max_bytes)


def list_members(tar: Path) -> Members:
    """List the files in a tar but for links, hidden and system files, and names that lead out of the tar.

    Raises
    ------
    OSError
        If it can't be read.
    UserError
        If it is no uncompressed tar, or is damaged.
    """
    return _list_members(tar, files.stamp(tar))


@lru_cache(TARS_KEPT)
def _list_members(path: Path, stamp: tuple[int, ...]) -> Members:
    found: list[tuple[str, int, int]] = []
    with files.open_file(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while member := tar.next():
                    tar.members = []  # type: ignore[attr-defined]  # it would keep an object for each
                    if member.size < 0 or tar.offset < member.offset_data:  # it would come by here for ever
                        raise tarfile.ReadError(f"a negative size at byte {member.offset:,}")
                    name = str(PurePosixPath(member.name.lstrip("/")))
                    # Names that begin with a dot are hidden, or lead out of the tar.
                    hidden = any(map(is_system_name, name.split("/")))
                    if member.isreg() and not member.issparse() and not hidden:
                        found.append((name, member.offset_data, member.size))
                file.seek(tar.offset)
                # tarfile takes damaged headers for the end, and needs none.
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"neither a file nor the end at byte {tar.offset:,}")
            found.sort()
            names = Names.of(name for name, _, _ in found)
        except UserError:  # of a server
            raise
        # Of names too, which may be anything; sizes of names, and how many follow each other, are not checked.
        except (tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            reason = first_line(error)
            raise UserError(f"can't read {path}: {reason}; give an uncompressed tar that is whole") from error
    if again := next((names[i] for i in range(1, len(names)) if names[i] == names[i - 1]), None):
        raise UserError(f"{path} has {again!r} twice; keep one of them")
    place_N2 = np.array([place for _, *place in found], np.int64).reshape(-1, 2)
    return Members(names, place_N2[:, 0], place_N2[:, 1])


def _read(file: BufferedReader, members: Members, at: int, max_bytes: int) -> bytes:
    start, size = int(members.start_N[at]), int(members.size_N[at])
    if size > max_bytes:
        raise files.Unfit(None, f"larger than {max_bytes:,} bytes", members.names[at])
    data = files.read_at(file, start, size)
    if len(data) < size:
        raise files.Unfit(None, "cut short", members.names[at])
    return data


class TarTable(Table):
    """The images of a tar as rows; columns are `file`, `cls` and the keys of the JSON of the first sample."""

    @property
    def defaults(self) -> dict[str, str]:
        """Names of columns by role."""
        return {FILE: FILE, **({LABEL: CLASS} if LABEL not in self.names and CLASS in self.names else {})}

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Iterate over the images: their numbers, and the values of some columns.

        Raises
        ------
        UserError
            For a label that can't be read.
        """
        members = list_members(self.path)
        number = -1
        with files.open_file(self.path) as file:
            for key, parts in members.samples().items():
                images = _images_of(parts)
                values = _values_of(self.path, file, members, key, parts) if images else {}
                for at in images:
                    number += 1
                    yield (
                        number,
                        [members.names[at] if name == FILE else values.get(name) for name in columns],
                    )

    def locate(self, row: int) -> str:
        """Name an image in a message."""
        return f"{self.path}, {next(values[0] for number, values in self.rows([FILE]) if number == row)}"


def open_tar(path: Path) -> TarTable:
    """Read the names of the columns of a tar of images and labels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    TarTable

    Raises
    ------
    UserError
        If it has no images.
    OSError, UserError
        As `list_members` does.
    """
    members = list_members(path)
    first = next(((key, parts) for key, parts in members.samples().items() if _images_of(parts)), None)
    if first is None:
        raise UserError(f"{path} has no images; members such as 0001.jpg and 0001.cls are wanted")
    with files.open_file(path) as file:
        return TarTable(path, [FILE, *_values_of(path, file, members, *first)])


def _images_of(parts: Mapping[str, int]) -> list[int]:
    """Return the images of a sample: beside `1.jpg`, `1.seg.png` is a mask; alone, `1.left.png` is an image."""
    found = {extension: at for extension, at in parts.items() if _suffix(extension) in IMAGE_SUFFIXES}
    return [at for extension, at in found.items() if "." not in extension] or list(found.values())


def _suffix(extension: str) -> str:
    return f".{extension.rpartition('.')[2]}"


def _values_of(
    path: Path, file: BufferedReader, members: Members, key: str, parts: Mapping[str, int]
) -> dict[str, Any]:
    """Return what the members beside an image say of it: numbers and texts alone."""
    values: dict[str, Any] = {}
    for part in (part for part in (CLASS, RECORD) if part in parts):
        try:
            data = _read(file, members, parts[part], MAX_RECORD_BYTES)
            values = {**values, **({CLASS: data.decode()} if part == CLASS else json.loads(data))}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = first_line(error)
            raise UserError(
                f"can't read the label of {key} in {path}: {reason}; mend {key}.{part}"
            ) from error
    # The name of the image is that of its member, whatever the JSON calls it.
    return {
        name: value for name, value in values.items() if name != FILE and not isinstance(value, (list, dict))
    }
