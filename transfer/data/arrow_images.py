"""Images in columns of Parquet and Arrow files, as the library `datasets` writes them.

A column of images holds their bytes, or structures of `bytes` and `path`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from transfer.data.table_files import FILE, LABEL, PARQUET, Row, Table, parquet_file, pyarrow_errors
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.remote import RemotePath
from transfer.system.text import in_bytes

ARROW = ".arrow"
BYTES, PATH = "bytes", "path"
# Files whose tables or row groups are kept open, and row groups that are kept in memory, with one column of images.
FILES_KEPT, GROUPS_KEPT = 64, 2
MAX_GROUP_BYTES = 4_000_000_000
# What an Arrow file begins with; `datasets` writes Arrow streams.
_ARROW_FILE = b"ARROW1"
# Where `datasets` describes the columns of a file: in its metadata, or in a file beside it.
_METADATA, _INFO, _MAX_INFO_BYTES = b"huggingface", "dataset_info.json", 16_000_000
_one_reads_groups = threading.Lock()


@dataclass(frozen=True)
class ImageTable(Table):
    """A Parquet or Arrow file with a column of images, which are named by column and row."""

    images: str = ""
    """The column of images."""
    has_paths: bool = False
    """Whether it has paths beside the bytes."""
    n_rows: int = 0
    classes: Mapping[str, Sequence[str]] | None = None
    """Names of the classes, of the columns that hold indices into them."""

    @property
    def defaults(self) -> dict[str, str]:
        """Names of columns by role."""
        labels = list(self.classes or ())
        is_clear = LABEL not in self.names and len(labels) == 1
        return {FILE: self.images, **({LABEL: labels[0]} if is_clear else {})}

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Iterate over the rows: their numbers, and the values of some columns.

        Raises
        ------
        UserError
            For a row that can't be read.
        """
        if lost := [name for name in columns if name not in self.names]:
            raise UserError(f"{self.path} has no column {lost[0]!r}, unlike others beside it; mend it")
        digits, row = len(str(self.n_rows - 1)), -1  # the order of names is then that of rows
        for batch in self._batches([name for name in columns if name != self.images]):
            with pyarrow_errors(self.path):
                values = [self._values(batch, name) for name in columns]
            for own in zip(*values, strict=True):
                row += 1
                yield (
                    row,
                    [
                        f"{name}/{row:0{digits}}{value}"
                        if name == self.images
                        else self._class(row, name, value)
                        for name, value in zip(columns, own, strict=True)
                    ],
                )

    def _batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield parts of some columns, and of the paths of images, without their bytes."""
        if self.path.suffix.lower() == PARQUET:
            with parquet_file(self.path) as file:
                yield from file.iter_batches(
                    columns=[*columns, *([f"{self.images}.{PATH}"] * self.has_paths)]
                )
        else:
            with pyarrow_errors(self.path):
                table = _mapped(self.path, files.stamp(self.path))
            yield from table.select([*columns, *([self.images] * self.has_paths)]).to_batches()

    def _values(self, batch: Any, name: str) -> list[Any]:
        if name != self.images:
            return batch.column(name).to_pylist()  # type: ignore[no-any-return]
        if not self.has_paths:
            return [""] * batch.num_rows
        return [_suffix(path) for path in batch.column(name).field(PATH).to_pylist()]

    def _class(self, row: int, column: str, value: Any) -> Any:
        """Return the name of a class for its index, other values as they are; datasets has -1 for no class."""
        names = (self.classes or {}).get(column)
        if names is None or not isinstance(value, int) or value == -1:
            return None if names is not None and value == -1 else value
        if not 0 <= value < len(names):
            raise UserError(
                f"{self.locate(row)}: the {column} is {value}, and there are {len(names)} classes; mend it"
            )
        return names[value]


def open_arrow(path: Path, columns: Mapping[str, str]) -> ImageTable | None:
    """Read the columns of a Parquet or Arrow file of images.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        Names of columns by role; `file` names the column of images.

    Returns
    -------
    ImageTable or None
        None if the file has no column of images, or `file` is of another.

    Raises
    ------
    UserError
        If the file can't be read, or it is not clear which column is meant.
    """
    schema, n_rows = _schema(path)
    with pyarrow_errors(path):  # names may be no UTF-8
        names = list(schema.names)
        found = {field.name: has_paths for field in schema if (has_paths := _has_paths(field)) is not None}
    given = columns.get(FILE) or (FILE if FILE in names else None)
    if given is None and len(found) > 1:
        first, second = list(found)[:2]
        raise UserError(
            f"{path} has images in {first!r} and in {second!r}; choose one by `columns='file={first}'`"
        )
    name: str = given or next(iter(found), "")
    if name not in found:
        return None
    return ImageTable(
        path,
        names,
        images=name,
        has_paths=found[name],
        n_rows=n_rows,
        classes=_classes(path, schema),
    )


def read(path: Path, member: str, max_bytes: int) -> bytes:
    """Read an image of a Parquet or Arrow file.

    Parameters
    ----------
    path : Path
        Of the file.
    member : str
        The column and the row, from 0, and what may follow, with slashes between.
    max_bytes : int

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If there is no such image, or it is larger than `max_bytes`.
    UserError
        If the file can't be read.
    """
    name, _, rest = member.partition("/")
    row = rest.partition("/")[0]
    missing = files.Unfit(None, f"not in {path.name}", str(path))
    if not row.isdecimal():
        raise missing
    stamp = files.stamp(path)
    with pyarrow_errors(path):
        try:
            value = _value(path, stamp, name, int(row))
            if hasattr(value, "keys"):  # a structure
                value = value[BYTES] if value.is_valid else None
            buffer = None if value is None else value.as_buffer()
        except (LookupError, AttributeError):
            raise missing from None
        if buffer is None:
            raise files.Unfit(None, "no bytes in its row", str(path))
        if buffer.size > max_bytes:
            raise files.Unfit(None, f"larger than {max_bytes:,} bytes", str(path))
        return buffer.to_pybytes()  # type: ignore[no-any-return]


def _has_paths(field: Any) -> bool | None:
    """Return whether a column of images has paths beside the bytes; None for a column of anything else."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    if "/" in field.name or field.name in ("", ".", ".."):  # names of images are paths below the file
        return None
    if types.is_struct(field.type):
        parts = {part.name: part.type for part in field.type}
        return PATH in parts if BYTES in parts and is_bytes(parts[BYTES]) else None
    return False if is_bytes(field.type) else None


def _suffix(path: object) -> str:
    """Return what the name of an image ends in: the path that is kept with it, if it leads nowhere else."""
    name = str(PurePosixPath(path.lstrip("/"))) if isinstance(path, str) else "."
    return "" if name == "." or ".." in name.split("/") else f"/{name}"


def _schema(path: Path) -> tuple[Any, int]:
    if path.suffix.lower() == PARQUET:
        with parquet_file(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    with pyarrow_errors(path):
        table = _mapped(path, files.stamp(path))
        return table.schema, table.num_rows


def _classes(path: Path, schema: Any) -> dict[str, list[str]]:
    """Return the names of the classes of each column for which `datasets` declared some."""
    try:
        declared = (schema.metadata or {}).get(_METADATA)
        info = (
            json.loads(declared)["info"]
            if declared
            else json.loads(files.read(path.with_name(_INFO), _MAX_INFO_BYTES))
        )
        return {
            name: list(map(str, feature["names"]))
            for name, feature in info["features"].items()
            if feature.get("_type") == "ClassLabel"
        }
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}  # a file that another library wrote


def _value(path: Path, stamp: tuple[int, ...], images: str, row: int) -> Any:
    if path.suffix.lower() != PARQUET:
        return _mapped(path, stamp).column(images)[row]
    ends = _group_ends(path, stamp)
    group = bisect_right(ends, row)
    with _one_reads_groups:  # others may wait for the same
        column = _group(path, stamp, images, group)
    return column[row - (ends[group - 1] if group else 0)]


@lru_cache(FILES_KEPT)
def _mapped(path: Path, stamp: tuple[int, ...]) -> Any:
    """Map an Arrow file into memory; damaged offsets would read outside of it."""
    import pyarrow
    from pyarrow import ipc

    with tempfile.NamedTemporaryFile() as copy:  # gone once the map is
        if isinstance(path, RemotePath):
            with files.open_file(path) as file:
                shutil.copyfileobj(file, copy)
            copy.flush()
        source = pyarrow.memory_map(copy.name if isinstance(path, RemotePath) else str(path))
    is_file = source.read(len(_ARROW_FILE)) == _ARROW_FILE
    source.seek(0)
    table = (ipc.open_file if is_file else ipc.open_stream)(source).read_all()
    table.validate(full=True)
    return table


@lru_cache(FILES_KEPT)
def _group_ends(path: Path, stamp: tuple[int, ...]) -> list[int]:
    with parquet_file(path) as file:
        counts = (file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
        return list(accumulate(counts))


@lru_cache(GROUPS_KEPT)
def _group(path: Path, stamp: tuple[int, ...], images: str, group: int) -> Any:
    with parquet_file(path) as file:
        declared = file.metadata.row_group(group)
        parts = [declared.column(i) for i in range(declared.num_columns)]
        size = sum(
            part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == images
        )
        if size > MAX_GROUP_BYTES:
            raise UserError(
                f"{path}: {in_bytes(size)} of images in a row group, and {in_bytes(MAX_GROUP_BYTES)} are read at most; "
                "write it with smaller ones (`row_group_size`)"
            )
        return file.read_row_group(group, columns=[images]).column(images)
