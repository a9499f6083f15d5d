"""Rows of a table of files and labels, read and checked.

N: rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transfer.data.image_tables import open_images
from transfer.data.random_splits import SPLITS, TRAIN, SplitCodes
from transfer.data.split_folders import VALID_NAMES, nearest, same_name
from transfer.data.table_files import Row, Table, as_text, choose_columns
from transfer.system.errors import UserError
from transfer.system.text import list_first

REQUIRED = ("file", "label")
UNKNOWN = 255
# No path that systems take is longer.
MOST_CHARACTERS = 4096
_SPLIT_CODES = {name: SPLITS.index("valid") for name in VALID_NAMES} | {
    name: code for code, name in enumerate(SPLITS)
}


@dataclass(eq=False)
class Column:
    """A column of few distinct texts: each once, and an index into them for each row."""

    texts: list[str] = field(default_factory=list)
    _codes: array[int] = field(default_factory=lambda: array("i"))
    _code_of: dict[str, int] = field(default_factory=dict)

    def append(self, text: str) -> None:
        """Add a row; texts that look the same are equal."""
        code = self._code_of.get(text)
        if code is None:
            code = self._code_of[text] = self._code_of.setdefault(same_name(text), len(self.texts))
            if code == len(self.texts):
                self.texts.append(text)
        self._codes.append(code)

    def __getitem__(self, row: int) -> str:
        return self.texts[self._codes[row]]

    @property
    def code_N(self) -> npt.NDArray[np.int32]:
        """Indices into `texts`."""
        return np.frombuffer(self._codes, np.intc).astype(np.int32)


@dataclass(eq=False)
class LabelledRows:
    """Columns of a table in the order of its rows."""

    table: Table
    labels: Column
    splits: Column | None
    """None: the table has none."""
    groups: Column | None
    files: list[str] = field(default_factory=list)
    number_N: array[int] = field(default_factory=lambda: array("q"))
    """Of each row, for messages."""

    def locate(self, row: int) -> str:
        """Name a row in a message."""
        return self.table.locate(self.number_N[row])

    @property
    def without_splits(self) -> str:
        """How to have splits drawn where the rows have some."""
        return "`columns='split='` draws splits" if self.table.names else "take the array of splits out"

    @cached_property
    def split_N(self) -> SplitCodes:
        """Indices into `SPLITS`, all train where the table has no splits; `UserError` for another name of one."""
        if self.splits is None:
            return np.zeros(len(self.files), np.uint8)
        code_S = np.array([_SPLIT_CODES.get(text.lower(), UNKNOWN) for text in self.splits.texts], np.uint8)
        code_N: SplitCodes = code_S[self.splits.code_N]
        unknown = [
            repr(text) for text, code in zip(self.splits.texts, code_S, strict=True) if code == UNKNOWN
        ]
        if unknown:
            raise UserError(
                f"{self.locate(int(np.argmax(code_N == UNKNOWN)))}: the split is {list_first(unknown)}; "
                f"name splits train, valid and test, or {self.without_splits}"
            )
        return code_N


@dataclass(frozen=True, eq=False)
class GivenRows:
    """Features of rows (N, D) with labels, in the order of the file."""

    x_ND: npt.NDArray[np.float32]
    rows: LabelledRows
    classes: list[str] | None = None
    """The classes in their order; None: in the order of their names."""
    pattern: str | None = None
    """Of groups in file names; None where a column has the groups, or there are none."""


def read_rows(path: Path, columns: Mapping[str, str], groups: str | None) -> tuple[LabelledRows, str | None]:
    """Read and check the columns that are used.

    Parameters
    ----------
    path : Path
        Of the table.
    columns : mapping of str to str
        Names of columns by role.
    groups : str, optional
        A column, or a pattern for file names; either replaces the column of groups.

    Returns
    -------
    rows : LabelledRows
    pattern : str or None
        None where a column has the groups, or there are none.

    Raises
    ------
    UserError
        If the table can't be used.
    """
    table = open_images(path, columns, REQUIRED)
    given, pattern = choose_groups(table, {**table.defaults, **columns}, groups)
    chosen = choose_columns(table, given, REQUIRED, ["split", "group", "weight"])
    refuse_weights(path, chosen)
    split, group = (Column() if role in chosen else None for role in ("split", "group"))
    rows = LabelledRows(table, Column(), split, group)
    fill_rows(rows, list(chosen), table.rows(list(chosen.values())))
    check_rows(rows)
    return rows, pattern


def choose_groups(
    table: Table, columns: Mapping[str, str], groups: str | None
) -> tuple[dict[str, str], str | None]:
    """Return names of columns with that of the groups, and the pattern for file names, where `groups` is no column."""
    if groups is None:
        return dict(columns), None
    if groups in table.names:
        return {**columns, "group": groups}, None
    return {**columns, "group": ""}, groups


def refuse_weights(path: Path, chosen: Mapping[str, str]) -> None:
    """Raise `UserError` where there is a column of weights."""
    if "weight" in chosen:
        raise UserError(
            f"{path} has a column {chosen['weight']!r}, and methods take no weights of images; "
            "`columns='weight='` leaves it out"
        )


def fill_rows(rows: LabelledRows, roles: Sequence[str], values: Iterable[Row]) -> None:
    """Add rows: of each its number, the file and the label, then the split and the group where there are any.

    Raises
    ------
    UserError
        For an empty value.
    """
    columns = [column for column in (rows.labels, rows.splits, rows.groups) if column is not None]
    for number, own in values:
        texts = [as_text(value) for value in own]
        if "" in texts:
            role = roles[texts.index("")]
            raise UserError(
                f"{rows.table.locate(number)}: the {role} is empty; fill it in, or take the row out"
            )
        if "\0" in texts[0] or len(texts[0]) > MOST_CHARACTERS:
            raise UserError(
                f"{rows.table.locate(number)}: the file name has a NUL byte or over {MOST_CHARACTERS} letters; mend it"
            )
        rows.number_N.append(number)
        rows.files.append(texts[0])
        for column, text in zip(columns, texts[1:], strict=True):
            column.append(text)


def check_rows(rows: LabelledRows) -> None:
    """Raise `UserError` where there are no rows, or their splits or groups can't be used."""
    path = rows.table.path
    if not rows.files:
        raise UserError(f"{path} has no rows below the names of its columns; add a row for each image")
    if rows.splits is not None:
        _check_splits(rows)
    if rows.groups is not None and len(rows.groups.texts) in (1, len(rows.files)):
        made = "one group of all" if len(rows.groups.texts) == 1 else "a group of each of"
        mend = "`columns='group='` leaves them out" if rows.table.names else "take them out"
        raise UserError(f"the groups of {path} make {made} {len(rows.files):,} images; {mend}")


def _check_splits(rows: LabelledRows) -> None:
    """Raise `UserError` where given splits lack train or test, or train lacks a class."""
    split_N, label_N = rows.split_N, rows.labels.code_N
    for split in ("train", "test"):
        if SPLITS.index(split) not in split_N:
            raise UserError(
                f"{rows.table.path} has no row of the {split} split; add some, or {rows.without_splits}"
            )
    trained = np.unique(label_N[split_N == TRAIN])
    untrained_N = ~np.isin(label_N, trained)
    if untrained_N.any():
        row = int(np.argmax(untrained_N))
        like = nearest(rows.labels[row], [rows.labels.texts[label] for label in trained])
        mend = f"did you mean {like!r}?" if like else "add training images of it, or take it out"
        raise UserError(
            f"{rows.locate(row)}: class {rows.labels[row]!r} is in {SPLITS[split_N[row]]} but not in train; {mend}"
        )
