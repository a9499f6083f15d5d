"""Predictions as a table: a row an image, a column a class, in a CSV, JSON or Parquet file.

C: classes.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from transfer.data.split_folders import OUTPUT_FILES
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.run_files import PREDICTIONS, RESULT

if TYPE_CHECKING:
    from transfer.serving.prediction import Prediction

# Columns beside those of the classes.
COLUMNS = ("path", "label", "probability")

Add = Callable[[Iterable["Prediction"]], None]


class _Table(Protocol):
    def add(self, rows: Sequence[Sequence[Any]]) -> None: ...
    def close(self) -> None: ...


class _Csv:
    """Encoded and quoted as `predictions.csv` of a run."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        self._rows = csv.writer(self._text)
        self._rows.writerow(columns)

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        for path, label, *shares in rows:
            self._rows.writerow([path, label, *("" if one is None else f"{one:.6g}" for one in shares)])

    def close(self) -> None:
        self._text.detach()  # flushes, and leaves the file open


class _Json:
    """A list with an object an image."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._file, self._columns, self._separator = file, columns, b"[\n"

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            one = dict(zip(self._columns, row, strict=True))
            self._file.write(self._separator + json.dumps(one).encode())
            self._separator = b",\n"

    def close(self) -> None:
        self._file.write(b"\n]\n" if self._separator == b",\n" else b"[]\n")


class _Parquet:
    """Bytes of names that are no UTF-8 are escaped, for Parquet has no other text."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        import pyarrow
        from pyarrow import parquet

        kinds = [pyarrow.string()] * 2 + [pyarrow.float32()] * (len(columns) - 2)
        self._schema = pyarrow.schema(list(zip(map(_as_utf8, columns), kinds, strict=True)))
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._make = pyarrow.table

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        values = [list(column) for column in zip(*rows, strict=True)]
        for i in (0, 1):
            values[i] = [name and _as_utf8(name) for name in values[i]]
        self._writer.write_table(self._make(values, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _as_utf8(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


TABLE_WRITERS: dict[str, Callable[[IO[bytes], Sequence[str]], _Table]] = {
    ".csv": _Csv,
    ".json": _Json,
    ".parquet": _Parquet,
}


def check_path(path: Path) -> None:
    """Check, before any work, that a table can be written.

    Raises
    ------
    UserError
        For another suffix, a file that a run wrote, and a folder that is not there or can't be written to.
    """
    if path.suffix.lower() not in TABLE_WRITERS:
        raise UserError(f"can't tell the format of {path}; end its name in {', '.join(TABLE_WRITERS)}")
    is_of_run = path.name in OUTPUT_FILES or (path.name == PREDICTIONS and path.with_name(RESULT).exists())
    if is_of_run and path.exists():
        raise UserError(f"{path} is a file of a run; give another `out`")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"can't write {path}; name a file in a folder that is there")


def column_names(classes: Sequence[str]) -> list[str]:
    """Return the names of all columns; before a class with the name of another column stands `class:`."""
    taken, names = {*COLUMNS, *classes}, list(COLUMNS)
    for name in classes:
        own = name
        while own in COLUMNS or (own != name and own in taken):
            own = f"class:{own}"
        names.append(own)
    return names


@contextmanager
def open_table(path: Path, classes: Sequence[str]) -> Iterator[Add]:
    """Write a table as its rows come; it is in place, whole, once the block ends.

    Parameters
    ----------
    path : Path
        Its suffix decides the format.
    classes : sequence of str
        `(C,)`, the model's.

    Yields
    ------
    callable
        Takes predictions that have `probabilities`.

    Raises
    ------
    UserError
        If it can't be written.
    """
    with (
        files.replace_file(path) as file,
        closing(TABLE_WRITERS[path.suffix.lower()](file, column_names(classes))) as table,
    ):

        def add(predictions: Iterable[Prediction]) -> None:
            rows = []
            for one in predictions:
                assert one.probabilities is not None
                rows.append([str(one.path), one.label, one.probability, *one.probabilities.tolist()])
            if rows:
                table.add(rows)

        yield add
