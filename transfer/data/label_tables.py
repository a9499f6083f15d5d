"""The image set of a table: image files, labels, and where they are given splits and groups.

N: rows of the table, later images.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from transfer.data.dataset import ImageSet, Samples, check_classes_drawn, check_splits_drawn, draw_codes
from transfer.data.formats import is_image_file
from transfer.data.groups import assign_groups
from transfer.data.label_rows import Column, LabelledRows, read_rows
from transfer.data.names import Names
from transfer.data.random_splits import SPLITS, TRAIN, Codes, Indices, SplitCodes
from transfer.system import remote
from transfer.system.errors import UserError
from transfer.system.remote import RemotePath

# Files that a message names.
NAMED = 3
# A path that is not what `os.path.normpath` would make of it, or may lead out of the table's folder.
_NOT_PLAIN = re.compile(r"^/|^\.\.?/|//|/\.\.?/|/\.{0,2}$")
NOT_THERE, NO_IMAGE = "not there", "not images"

log = logging.getLogger(__name__)


def find(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    groups: str | None = None,
    on_bad_image: str = "error",
) -> ImageSet:
    """Find the image set of a table, or of files that hold images.

    Files are relative to the table's folder, or absolute, and keep the names that the table gives them. Images are in
    the order of these names, whatever the order of the rows; splits are drawn as those of folders are.

    Parameters
    ----------
    path : Path
        A `.csv`, `.tsv` or `.parquet` file with the columns `file`, `label` and, where they are given, `split` and
        `group`; or what `image_tables.open_images` takes.
    columns : mapping of str to str, optional
        Other names of these columns; an empty one says that the table has no such column.
    seed : int
        Seed of the splits that are drawn.
    groups : str, optional
        A column of the table, or a regular expression on file names as for `assign_groups`; it replaces the column
        `group`.
    on_bad_image : {"error", "skip"}
        Whether files that are not there, or not images, are refused or left out.

    Returns
    -------
    ImageSet

    Raises
    ------
    UserError
        If the table can't be used.
    """
    rows, pattern = read_rows(path, columns or {}, groups)
    root, skipped = rows.table.folder, dict[str, str]()
    order, repeated = _order(rows, root)
    if repeated:
        log.warning(
            "%s: %d rows name a file again, with the same label; each file is taken once", path, repeated
        )
    if not rows.table.holds_images:
        order, skipped = _keep_images(rows, root, order, on_bad_image)
    return build(rows, order, pattern, seed, skipped=skipped)[0]


def _keys(files: Sequence[str], root: Path) -> Iterator[str]:
    """Yield a text for each file that is the same for paths of the same file, and sorts as its parts do."""
    # What Path does is 20 times as slow for a million names.
    base = os.path.abspath(root)  # noqa: PTH100
    inside = base.rstrip("/") + "/"
    for name in files:
        if _NOT_PLAIN.search(name):
            name = posixpath.normpath(posixpath.join(base, name)).removeprefix(inside)
        yield name.replace("/", "\0")


def _order(rows: LabelledRows, root: Path) -> tuple[Indices, int]:
    """Return the rows in the order of their files, each file once, and how many rows name one again."""
    keys = list(_keys(rows.files, root))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    again = set()
    for first, second in pairwise(order):
        if keys[first] == keys[second]:
            _check_same(rows, first, second)
            again.add(second)
    return np.array([row for row in order if row not in again] if again else order, np.int64), len(again)


def _check_same(rows: LabelledRows, first: int, second: int) -> None:
    """Raise `UserError` unless two rows of a file agree."""
    pairs = {
        "labels": [rows.labels[row] for row in (first, second)],
        "splits": [SPLITS[rows.split_N[row]] for row in (first, second)],
        "groups": [rows.groups[row] for row in (first, second)] if rows.groups is not None else [],
    }
    for what, values in pairs.items():
        if len(set(values)) > 1:
            raise UserError(
                f"{rows.locate(second)}: {rows.files[second]!r} has two {what}, {values[0]!r} in "
                f"{rows.table.unit} {rows.number_N[first]} and {values[1]!r}; keep one of them"
            )


def _keep_images(rows: LabelledRows, root: Path, order: Indices, rule: str) -> tuple[Indices, dict[str, str]]:
    """Return the rows whose file is an image, and the other files with the reason, which are refused unless skipped."""
    base = str(root)
    find_fault = partial(_fault, base)
    if isinstance(root, RemotePath):  # listed once, instead of a question for each file
        find_fault = partial(_remote_fault, root, {entry.name for entry in remote.list_files(root)})
    bad = {row: reason for row in sorted(order.tolist()) if (reason := find_fault(rows.files[row]))}
    if bad and (rule == "error" or len(bad) == len(order)):
        reason = next(iter(bad.values()))
        same = [row for row in bad if bad[row] == reason]
        named = ", ".join(
            f"{rows.files[row]!r} ({rows.table.unit} {rows.number_N[row]})" for row in same[:NAMED]
        )
        where = f"; they are looked for in {root.absolute()}" if reason == NOT_THERE else ""
        if "\\" in rows.files[same[0]]:
            where += ", and names of folders end in /, not \\"
        skip = ", or use `on_bad_image='skip'`" if len(bad) < len(order) else ""
        raise UserError(
            f"{rows.table.path}: {len(same):,} of {len(order):,} files are {reason}, the first {named}{where}; "
            f"mend the table{skip}"
        )
    kept = order[~np.isin(order, list(bad))] if bad else order
    return kept, {rows.files[row]: reason for row, reason in bad.items()}


def _fault(base: str, name: str) -> str | None:
    """Return why a file can't be used; None where it can. As in folders, its suffix or its first bytes decide."""
    path = os.path.join(base, name)  # noqa: PTH118  # a Path for each of a million names takes seconds
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return NOT_THERE
    return None if is_file and is_image_file(path) else NO_IMAGE


def _remote_fault(root: RemotePath, names: Collection[str], name: str) -> str | None:
    if str(PurePosixPath(name)) not in names:
        return NOT_THERE
    return None if is_image_file(root / name) else NO_IMAGE


def build(
    rows: LabelledRows,
    order: Indices,
    pattern: str | None,
    seed: int,
    *,
    skipped: Mapping[str, str] = MappingProxyType({}),
    classes: Sequence[str] | None = None,
    copies_N: Codes | None = None,
) -> tuple[ImageSet, SplitCodes]:
    """Build the image set of some rows, and draw the splits that are missing.

    Parameters
    ----------
    rows : LabelledRows
    order : ndarray of shape (N,)
        Which rows, in the order of the images.
    pattern : str, optional
        Of groups in file names.
    seed : int
    skipped : mapping of str to str
        What was left out before, and the reason.
    classes : sequence of str, optional
        The order of the classes, if not that of their names.
    copies_N : ndarray of shape (N,), optional
        Codes that are equal for copies, where they are known.

    Returns
    -------
    image_set : ImageSet
    split_N : ndarray of shape (N,), uint8
        The split of each image.

    Raises
    ------
    UserError
        If a split is empty, or training has one class or lacks one.
    """
    path = rows.table.path
    names = Names.of(rows.files[row] for row in order)
    used, label_N = _rank(rows.labels, order, classes)
    groups: tuple[str, ...] = ()
    group_N: npt.NDArray[np.int32] | None = None
    if pattern is not None:
        group_N, groups = assign_groups(names, pattern)
    elif rows.groups is not None:
        groups, group_N = _rank(rows.groups, order)
    samples = Samples(rows.table.folder, names, label_N, group_N)
    given, split_N = [SPLITS[code] for code in np.unique(rows.split_N)], rows.split_N[order]
    _check_usable(path, given, split_N, [used[label] for label in np.unique(label_N[split_N == TRAIN])])
    if drawn := tuple(split for split in SPLITS if split not in given):
        pool_N = split_N == TRAIN
        copies_M = None if copies_N is None else copies_N[pool_N]
        split_N[pool_N] = draw_codes(samples.select(pool_N), drawn, used, seed, copies_M)
    image_set = ImageSet(
        name=path.name or path.resolve().name,
        root=rows.table.folder,
        classes=used,
        splits={split: samples.select(split_N == code) for code, split in enumerate(SPLITS)},
        groups=groups,
        drawn=SPLITS if "test" in drawn else drawn,
        empty_classes=tuple(sorted({*rows.labels.texts, *(classes or ())} - set(used))),
        seed=seed,
        skipped=dict(skipped),
    )
    check_classes_drawn(image_set)
    check_splits_drawn(image_set, path)
    return image_set, split_N


def _rank(
    column: Column, order: Indices, texts: Sequence[str] | None = None
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Return the texts of some rows of a column, sorted or in the order given, and the index of each row's text."""
    code_N = column.code_N[order]
    rank_of = {text: rank for rank, text in enumerate(texts or sorted(column.texts))}
    used = sorted(np.unique(code_N).tolist(), key=lambda code: rank_of[column.texts[code]])
    rank = np.zeros(len(column.texts), np.int32)
    rank[used] = np.arange(len(used))
    return tuple(column.texts[code] for code in used), rank[code_N]


def _check_usable(path: Path, given: Sequence[str], split_N: SplitCodes, trained: Sequence[str]) -> None:
    """Raise `UserError` where no image of a given split, or one class alone to train, is left."""
    for split in given:
        if SPLITS.index(split) not in split_N:
            raise UserError(f"{path}: no image of the {split} split is there; add some")
    if len(trained) < 2:
        raise UserError(
            f"{path} has one class, {trained[0]!r}; a comparison needs at least two in the labels"
        )
