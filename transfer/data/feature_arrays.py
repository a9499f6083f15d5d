"""Features and labels in the arrays of a NumPy `.npz` file.

N: rows. D: features a row. M: rows of one split.
"""

from __future__ import annotations

import contextlib
import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer.data.label_rows import Column, GivenRows, LabelledRows, fill_rows
from transfer.data.split_folders import VALID_NAMES
from transfer.data.stored_arrays import StoredArray
from transfer.data.table_files import Table, as_text
from transfer.system.errors import UserError
from transfer.system.row_storage import MakeRows
from transfer.system.text import first_line

_LAYOUTS = "x_train, y_train, x_test and y_test (x_valid and y_valid too), or X and y"
_ENDINGS = {"train": ("train",), "valid": VALID_NAMES, "test": ("test",)}
_KINDS = ("x", "y", "groups", "files")
_FEATURES = {"x", *(f"x_{ending}" for endings in _ENDINGS.values() for ending in endings)}


@dataclass(frozen=True, eq=False)
class _Arrays:
    """The arrays of a file: of each split, or of all rows."""

    path: Path
    arrays: dict[str, Any]
    """By name in lower case; those of features are left in the file."""
    endings: dict[str, str]
    """By split, how the names of its arrays end; `""` alone stands for all rows."""

    def named(self, kind: str) -> list[str]:
        """Return the names of the arrays of a kind, split after split."""
        return [f"{kind}{ending}" for ending in self.endings.values()]

    def lengths(self) -> list[int]:
        """Return the number of rows of each split."""
        return [len(self.arrays[name]) for name in self.named("x")]

    def texts(self, kind: str) -> list[str] | None:
        """Return the values of a kind for all rows as text; None where there are none."""
        names = self.named(kind)
        missing = [name for name in names if name not in self.arrays]
        if len(missing) == len(names):
            return None
        if missing:
            raise UserError(f"{self.path} has no {missing[0]}; add it, or leave out all arrays of {kind}")
        texts: list[str] = []
        for name, length in zip(names, self.lengths(), strict=True):
            found = _as_texts(self.path, name, self.arrays[name])
            if len(found) != length:
                raise UserError(
                    f"{self.path}: {name} has {len(found):,} values for {length:,} rows of features"
                )
            texts += found
        return texts


def read(
    path: Path,
    groups: str | None,
    make_rows: MakeRows,
) -> GivenRows:
    """Read an `.npz` file, without unpickling anything.

    Parameters
    ----------
    path : Path
    groups : str, optional
        Regular expression on the names in arrays of files.
    make_rows : callable
        From a shape to the array that features are read into.

    Returns
    -------
    GivenRows

    Raises
    ------
    UserError
        If the file can't be read, or its arrays do not fit together.
    """
    found = _arrange(path, _load(path))
    with _readable(path):
        x_ND = _join({name: found.arrays[name] for name in found.named("x")}, path, make_rows)
    labels = found.texts("y") or []
    labels, classes = _name_labels(found, labels)
    whole = "" in found.endings
    values = {
        "file": found.texts("files"),
        "label": labels,
        "split": found.texts("split") if whole else np.repeat(list(found.endings), found.lengths()).tolist(),
        "group": found.texts("groups") if groups is None else None,
    }
    if groups is not None and values["file"] is None:
        raise UserError(
            f"`groups` is for names of files, and {path} has none; add an array of files, or of groups"
        )
    numbers = [number for length in found.lengths() for number in range(length)]
    if values["file"] is None:
        ends = np.repeat([split and f"{split}/" for split in found.endings], found.lengths()).tolist()
        values["file"] = [f"{end}{number}" for end, number in zip(ends, numbers, strict=True)]
    split, group = (None if values[role] is None else Column() for role in ("split", "group"))
    rows = LabelledRows(Table(path, []), Column(), split, group)
    given = {role: texts for role, texts in values.items() if texts is not None}
    fill_rows(rows, list(given), zip(numbers, zip(*given.values(), strict=True), strict=True))
    return GivenRows(x_ND, rows, classes, groups)


def _join(
    arrays: dict[str, StoredArray],
    path: Path,
    make_rows: MakeRows,
) -> npt.NDArray[np.float32]:
    """Join arrays of features (M, D) to one (N, D) in float32; raise `UserError` where they are not such arrays."""
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.ndim != 2 or not array.size:
            raise UserError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}; give numbers of shape (rows, features)"
            )
    widths = {array.shape[1] for array in arrays.values()}
    if len(widths) > 1:
        raise UserError(
            f"{path}: {', '.join(arrays)} have {sorted(widths)} features a row; give as many in all"
        )
    x_ND, start = make_rows((sum(map(len, arrays.values())), widths.pop())), 0
    with np.errstate(over="ignore"):  # the sum is checked for what is not finite
        for block in itertools.chain.from_iterable(array.blocks() for array in arrays.values()):
            x_ND[start : start + len(block)] = block
            start += len(block)
    return x_ND


def _as_texts(path: Path, name: str, array: npt.NDArray[Any]) -> list[str]:
    """Return a one-dimensional array of text or numbers as text."""
    if array.ndim != 1 or array.dtype.kind not in "Uiubf":
        raise UserError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}; give text or numbers, one a row"
        )
    return [as_text(value) for value in array.tolist()]


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} is no file" if path.exists() else f"no such file: {path}; give an .npz file")
    with _readable(path), path.open("rb") as stream:  # NumPy leaves a damaged file open
        if not zipfile.is_zipfile(stream):  # NumPy would take it for a single array, or for a pickle
            raise ValueError("it is not an archive of arrays")
        stream.seek(0)
        found = np.load(stream, allow_pickle=False)
        if len({name.lower() for name in found.files}) < len(found.files):
            raise ValueError("two arrays whose names differ in case alone")
        arrays = {
            name.lower(): StoredArray.open(path, name) if name.lower() in _FEATURES else found[name]
            for name in found.files
        }
        if others := [name for name, one in arrays.items() if not isinstance(one, np.ndarray | StoredArray)]:
            raise ValueError(f"{others[0]} is no array")
        return arrays


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise `UserError` for a file that can't be read."""
    try:
        yield
    except (MemoryError, UserError):
        raise
    except Exception as error:  # damaged and encrypted archives fail in many ways
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path} holds Python objects, which are never read; save arrays of numbers and of text (dtype str)"
            ) from None
        raise UserError(f"can't read {path} ({first_line(error)}); save it by numpy.savez") from error


def _arrange(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> _Arrays:
    """Find the splits among the arrays."""
    ends = {
        split: ending
        for split, endings in _ENDINGS.items()
        if (ending := next((f"_{end}" for end in endings if f"x_{end}" in arrays), None))
    }
    found = _Arrays(path, arrays, ends or {"": ""})
    missing = {"x_train", "x_test"} - arrays.keys() if ends else set()
    missing |= {name for kind in "xy" for name in found.named(kind)} - arrays.keys()
    if missing:
        raise UserError(
            f"{path} has no array {min(missing)}, only {', '.join(arrays) or 'none'}; give {_LAYOUTS}"
        )
    _refuse_unused(found)
    return found


def _refuse_unused(found: _Arrays) -> None:
    """Raise `UserError` for an array of the other layout: groups that are not read would be torn apart."""
    endings = ["", *(f"_{end}" for endings in _ENDINGS.values() for end in endings)]
    known = {"split", *(f"{kind}{end}" for kind in _KINDS for end in endings)}
    used = {name for kind in _KINDS for name in found.named(kind)} | (
        {"split"} if "" in found.endings else set()
    )
    if unused := sorted((known - used) & found.arrays.keys()):
        raise UserError(
            f"{found.path}: {unused[0]} does not belong with {', '.join(found.named('x'))}; take it out, or name it "
            "as these"
        )


def _name_labels(found: _Arrays, labels: list[str]) -> tuple[list[str], list[str] | None]:
    """Return labels by the names of `classes`, and the order of the classes."""
    whole = all(found.arrays[name].dtype.kind in "iu" for name in found.named("y"))
    if "classes" not in found.arrays:
        return labels, sorted(set(labels), key=int) if whole else None
    classes = _as_texts(found.path, "classes", found.arrays["classes"])
    if len(set(classes)) < len(classes) or "" in classes:
        raise UserError(f"{found.path}: classes has a name twice, or an empty one; give each class its own")
    known = (
        {str(code): name for code, name in enumerate(classes)} if whole else {name: name for name in classes}
    )
    if unknown := sorted(set(labels) - known.keys()):
        wanted = f"indices from 0 to {len(classes) - 1}" if whole else "names of classes"
        raise UserError(f"{found.path}: y holds {unknown[0]!r}, which is none of its classes; give {wanted}")
    return [known[label] for label in labels], classes
