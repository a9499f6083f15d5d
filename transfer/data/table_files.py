"""Rows of tables in files: text with delimiters, and Parquet."""

from __future__ import annotations

import codecs
import contextlib
import csv
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transfer.config import TABLES
from transfer.data.split_folders import nearest
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.files import Unfit
from transfer.system.remote import RemotePath
from transfer.system.text import first_line, list_first

PARQUET = ".parquet"
# Roles of columns: of images, or their files, and of labels.
FILE, LABEL = "file", "label"
# The delimiter that the suffix promises comes first.
DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
_UTF_16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
# Columns that a message names, and the characters of a name that it shows.
COLUMNS_NAMED, CHARACTERS_SHOWN = 12, 40

Row = tuple[int, Sequence[Any]]
"""The number of a row, as `Table.unit` counts them, and its values."""


@dataclass(frozen=True)
class Table:
    """A table in a file: the names of its columns, and its rows one after the other."""

    path: Path
    names: list[str]
    """Of its columns."""
    delimiter: str = ""
    """Of text; empty for Parquet."""
    holds_images: ClassVar[bool] = False
    """Whether the images lie in the file itself, not beside it."""

    @property
    def folder(self) -> Path:
        """The folder that names of files are relative to."""
        return self.path.parent

    @property
    def defaults(self) -> dict[str, str]:
        """Names of columns by role, where they are not those of the roles."""
        return {}

    @property
    def unit(self) -> str:
        """What rows are counted in, for messages."""
        return "line" if self.delimiter else "row"

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Iterate over the rows: their numbers, and the values of some columns.

        Those of text are `str` without blanks around them; empty lines are passed over.

        Raises
        ------
        UserError
            For a row that can't be read.
        """
        if self.delimiter:
            return _text_rows(self, [self.names.index(name) for name in columns])
        return _parquet_rows(self.path, columns)

    def locate(self, row: int) -> str:
        """Name a row in a message."""
        return f"{self.path}, {self.unit} {row}"


def as_text(value: Any) -> str:
    """Return a value as text without blanks around it, whole numbers without a point; empty for what is missing."""
    if isinstance(value, str):
        return value.strip()
    if value is None or value != value:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def open_table(path: Path, required: Collection[str] = ()) -> Table:
    """Read the names of a table's columns.

    The delimiter of text is the one with which its first line holds the `required` columns: `csv.Sniffer` guesses
    wrongly where a file name holds a comma.

    Parameters
    ----------
    path : Path
    required : collection of str
        Columns that the table should have. It is returned also if it lacks some.

    Returns
    -------
    Table

    Raises
    ------
    UserError
        If the file can't be read, or is not a table.
    """
    if not path.is_file():
        what = f"{path} is no file" if path.exists() else f"no such file: {path}"
        raise UserError(f"{what}; give a table of files and labels ({', '.join(TABLES)})")
    if path.suffix.lower() == PARQUET:
        return Table(path, _parquet_names(path))
    with contextlib.closing(_lines(path)) as lines:
        first = next(lines, "")
    if "\r" in first.rstrip("\r\n"):
        raise UserError(f"{path}: lines end in a carriage return alone; save it with line feeds")
    if not first.strip():
        raise UserError(f"{path} has no first line; it should name the columns, such as file,label")
    tables = [
        Table(path, _header(first, delimiter), delimiter) for delimiter in DELIMITERS[path.suffix.lower()]
    ]
    return max(tables, key=lambda table: (set(required) <= set(table.names), len(table.names)))


def choose_columns(
    table: Table, given: Mapping[str, str], required: Collection[str], optional: Collection[str]
) -> dict[str, str]:
    """Choose the column for each role: the one that was given, else the one of the same name.

    Parameters
    ----------
    table : Table
    given : mapping of str to str
        Names of columns by role; an empty name is of no column.
    required, optional : collection of str
        Roles.

    Returns
    -------
    dict of str to str
        Names of columns by role; optional ones that the table lacks are left out.

    Raises
    ------
    UserError
        If the table lacks a column that is required or was given, or has it twice.
    """
    counts, chosen = Counter(table.names), {}
    for role in (*required, *optional):
        name = given.get(role, role)
        if counts[name] > 1:
            raise UserError(f"{table.path} has {counts[name]} columns {name!r}; keep one of them")
        if name in counts:
            chosen[role] = name
        elif role in required or given.get(role):
            like = nearest(name, table.names)
            hint = (
                f"`columns='{role}={like}'` takes {like!r}" if like else f"name yours by `columns='{role}=…'`"
            )
            raise UserError(f"{table.path} has no column {name!r}, only {_list(table.names)}; {hint}")
    return chosen


def _list(names: Sequence[str]) -> str:
    shown = [name if len(name) <= CHARACTERS_SHOWN else f"{name[:CHARACTERS_SHOWN]}…" for name in names]
    return list_first([*map(repr, shown)], COLUMNS_NAMED)


def _lines(path: Path) -> Generator[str]:
    """Yield the lines of a file in UTF-8, with or without a byte order mark; raise `UserError` for any other."""
    with path.open("rb") as file:
        for number, data in enumerate(file, 1):
            if number == 1:
                if data.startswith(_UTF_16_OR_32):
                    raise UserError(f"{path} is UTF-16; save it as UTF-8")
                data = data.removeprefix(codecs.BOM_UTF8)
            if b"\0" in data:
                raise UserError(f"{path}, line {number}: a NUL byte; is it a text in UTF-8?")
            try:
                yield data.decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: byte 0x{data[error.start]:02x} is not UTF-8; save the table as UTF-8"
                ) from None


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return [line.strip()]


def _text_rows(table: Table, at: Sequence[int]) -> Iterator[Row]:
    reader = csv.reader(_lines(table.path), delimiter=table.delimiter, strict=True)
    try:
        next(reader)
        for cells in reader:
            if len(cells) == len(table.names):
                yield reader.line_num, [cells[i].strip() for i in at]
            elif cells and cells != [""]:
                raise UserError(
                    f"{table.locate(reader.line_num)}: {len(cells)} values for {len(table.names)} columns; "
                    f"put quotes around values that hold {table.delimiter!r}"
                )
    except csv.Error as error:
        raise UserError(f"{table.locate(reader.line_num)}: {error}; mend the quotes of the table") from error


def _parquet_names(path: Path) -> list[str]:
    with parquet_file(path) as file:
        return list(file.schema_arrow.names)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    row = -1  # pandas counts from 0
    with parquet_file(path) as file:
        for batch in file.iter_batches(columns=list(columns)):
            for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                row += 1
                yield row, values


@contextlib.contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """Open a Parquet file; raise `UserError` where it is none."""
    with pyarrow_errors(path):
        import pyarrow.parquet

        with contextlib.ExitStack() as stack:
            source = stack.enter_context(files.open_file(path)) if isinstance(path, RemotePath) else path
            yield stack.enter_context(pyarrow.parquet.ParquetFile(source))


@contextlib.contextmanager
def pyarrow_errors(path: Path) -> Iterator[None]:
    """Raise `UserError` where what pyarrow reads of a file fails."""
    import pyarrow

    try:
        yield
    except Unfit:
        raise
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read {path}: {first_line(error)}") from error
