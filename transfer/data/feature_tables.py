"""Features and labels in the columns of a Parquet file.

N: rows. D: features a row. B: rows of one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.config import COLUMNS
from transfer.data.label_rows import Column, GivenRows, LabelledRows, choose_groups, fill_rows, refuse_weights
from transfer.data.table_files import Table, choose_columns, open_table, parquet_file
from transfer.system.errors import UserError
from transfer.system.row_storage import MakeRows

# What pandas calls the index of a table.
_INDEX = "__index_level_"


def read(
    path: Path,
    columns: Mapping[str, str],
    groups: str | None,
    make_rows: MakeRows,
) -> GivenRows:
    """Read a column of lists of numbers, or else all columns of numbers.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        Names of columns by role.
    groups : str, optional
        A column, or a regular expression on the names in the column of files.
    make_rows : callable
        From a shape to the array that features are read into.

    Returns
    -------
    GivenRows

    Raises
    ------
    UserError
        If the file can't be read, or its columns can't be used.
    """
    table = open_table(path)
    given, pattern = choose_groups(table, columns, groups)
    chosen = choose_columns(table, given, ["label"], ["file", "split", "group", "weight", "features"])
    refuse_weights(path, chosen)
    lists = chosen.pop("features", None)
    if pattern is not None and "file" not in chosen:
        raise UserError(
            f"`groups` is for names of files, and {path} has no column of them; give a column of groups"
        )
    split, group = (Column() if role in chosen else None for role in ("split", "group"))
    rows = LabelledRows(table, Column(), split, group)
    # The order that `fill_rows` wants.
    roles = [role for role in ("label", "split", "group") if role in chosen]
    fill_rows(rows, ["file", *roles], _values(table, chosen, roles))
    if lists is not None:
        blocks = _lists(path, lists)
    else:
        # A column of labels or groups is no feature where `columns` names another one.
        taken = {*COLUMNS, *chosen.values()}
        blocks = _numbers(path, [name for name in table.names if name not in taken])
    x_ND = _join(blocks, len(rows.files), make_rows)
    return GivenRows(x_ND, rows, pattern=pattern)


def _values(
    table: Table, chosen: Mapping[str, str], roles: Sequence[str]
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the values of each row, its number for a file where there is no column of them."""
    names = [chosen[role] for role in roles]
    if "file" in chosen:
        yield from table.rows([chosen["file"], *names])
    else:
        for number, values in table.rows(names):
            yield number, (str(number), *values)


def _lists(path: Path, name: str) -> Iterator[npt.NDArray[Any]]:
    """Yield the numbers of a column of lists, batch after batch."""
    import pyarrow as pa

    with parquet_file(path) as file:
        kind = file.schema_arrow.field(name).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not is_list or not _is_number(kind.value_type):
            raise UserError(f"{path}: column {name!r} holds {kind}; give lists of numbers")
        start, width = 0, 0
        for batch in file.iter_batches(columns=[name]):
            column = batch.column(0)
            length_B = column.value_lengths().to_numpy(zero_copy_only=False)
            width = width or int(np.nan_to_num(length_B[:1]).sum())
            wrong_B = (length_B != width) | (length_B == 0)  # a missing list is of length NaN
            if wrong_B.any():
                row = start + int(np.argmax(wrong_B))
                raise UserError(
                    f"{path}, row {row}: the list is missing, empty, or not as long as those before it"
                )
            start += len(length_B)
            yield _as_numpy(column.flatten()).reshape(len(length_B), width)


def _numbers(path: Path, names: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    """Yield columns of numbers side by side, batch after batch."""
    names = [name for name in names if not name.startswith(_INDEX)]
    with parquet_file(path) as file:
        if len(set(names)) < len(names):
            raise UserError(f"{path} has two columns of one name; keep one of them")
        for name in names:
            kind = file.schema_arrow.field(name).type
            if not _is_number(kind):
                raise UserError(
                    f"{path}: column {name!r} holds {kind}, not numbers; take it out, or where it names image files "
                    f"use `columns='file={name}'`"
                )
        if not names:
            raise UserError(f"{path} has no columns of numbers and none of lists; add features")
        for batch in file.iter_batches(columns=names):
            yield np.stack([_as_numpy(batch.column(name)) for name in names], axis=1)


def _join(
    blocks: Iterator[npt.NDArray[Any]],
    count: int,
    make_rows: MakeRows,
) -> npt.NDArray[np.float32]:
    x_ND, start = np.empty((count, 0), np.float32), 0
    with np.errstate(over="ignore"):  # the sum is checked for what is not finite
        for x_BD in blocks:
            if not start:
                x_ND = make_rows((count, x_BD.shape[1]))
            x_ND[start : start + len(x_BD)] = x_BD
            start += len(x_BD)
    return x_ND


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _as_numpy(column: Any) -> npt.NDArray[Any]:
    """Return a column of numbers; what is missing is NaN."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    found: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return found
