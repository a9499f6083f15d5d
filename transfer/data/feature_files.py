"""Features that a user brings, in NumPy's `.npz` or in Parquet, with their labels.

N: rows. D: features a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from transfer.config import ARRAYS
from transfer.data import feature_arrays, feature_tables
from transfer.data.arrow_images import open_arrow
from transfer.data.label_rows import GivenRows, check_rows
from transfer.data.table_files import FILE, PARQUET, open_table
from transfer.system.errors import UserError
from transfer.system.row_storage import MakeRows

_BLOCK_ROWS = 4096


def holds_features(path: Path, columns: Mapping[str, str]) -> bool:
    """Return whether a file holds features: `.npz`, or Parquet with a column of features or without one of files."""
    if path.is_dir() or path.suffix.lower() not in (ARRAYS, PARQUET):
        return False
    if path.suffix.lower() == ARRAYS:
        return True
    names = open_table(path).names
    if columns.get("features", "features") in names:
        return True
    return columns.get(FILE, FILE) not in names and open_arrow(path, columns) is None


def read_features(
    path: Path,
    columns: Mapping[str, str],
    groups: str | None,
    make_rows: MakeRows,
) -> GivenRows:
    """Read features and labels.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        Names of columns of a Parquet file by role.
    groups : str, optional
        A column, or a regular expression on file names.
    make_rows : callable
        From a shape to the array that features are read into, some rows at a time.

    Returns
    -------
    GivenRows

    Raises
    ------
    UserError
        If the file can't be used.
    """
    if path.suffix.lower() != ARRAYS:
        found = feature_tables.read(path, columns, groups, make_rows)
    elif columns:
        raise UserError(f"`columns` names columns of a table, and {path} has arrays; leave it out")
    else:
        found = feature_arrays.read(path, groups, make_rows)
    check_rows(found.rows)
    _check_finite(path, found)
    return found


def _check_finite(path: Path, found: GivenRows) -> None:
    blocks = (found.x_ND[at : at + _BLOCK_ROWS] for at in range(0, len(found.x_ND), _BLOCK_ROWS))
    bad_N = np.concatenate([~np.isfinite(block).all(1) for block in blocks])
    if bad_N.any():
        raise UserError(
            f"{path}: {bad_N.sum():,} of {len(bad_N):,} rows hold NaN, infinity or numbers too large for float32, the "
            f"first is {found.rows.files[int(np.argmax(bad_N))]}; mend these rows, or take them out"
        )
