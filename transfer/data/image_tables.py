"""Tables of images: of image files that lie beside them, and files that hold images themselves (containers)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transfer.config import TABLES
from transfer.data import arrow_images, tar_files
from transfer.data.formats import IMAGE_SUFFIXES, suffix
from transfer.data.listing import is_system_name, list_files
from transfer.data.members import READERS
from transfer.data.random_splits import SPLITS
from transfer.data.split_folders import split_of
from transfer.data.table_files import FILE, LABEL, Row, Table, as_text, choose_columns, open_table
from transfer.system import remote
from transfer.system.errors import UserError

SPLIT = "split"
# Depth of the folders in which containers are looked for: `default/train/0000.parquet`.
MOST_FOLDERS = 2
# What `datasets` keeps of computations beside its data.
_TEMPORARY = "cache-"
# The number of a row has that of its container in front.
_ROW_BITS = 40


@dataclass(frozen=True)
class Containers(Table):
    """Files that hold images, as one table; images are named by the path of their file and their name in it."""

    parts: Sequence[Table] = ()
    splits: Sequence[str] = ()
    """The split that the name of each part says; empty where a column does, or nothing."""
    holds_images: ClassVar[bool] = True

    @property
    def folder(self) -> Path:
        """The folder that names of images are relative to."""
        return folder_of(self.path)

    @property
    def defaults(self) -> dict[str, str]:
        """Names of columns by role."""
        return self.parts[0].defaults

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Iterate over the images: their numbers, and the values of some columns.

        Raises
        ------
        UserError
            For a row that can't be read.
        """
        image = self.defaults[FILE]
        own = [name for name in columns if not (self.splits and name == SPLIT)]
        for i, part in enumerate(self.parts):
            prefix = f"{part.path.relative_to(self.folder).as_posix()}/"
            for number, row in part.rows(own):
                values = dict(zip(own, row, strict=True))
                if image in values:
                    values[image] = prefix + values[image]
                if self.splits:
                    values[SPLIT] = self.splits[i]
                yield i << _ROW_BITS | number, [values[name] for name in columns]

    def locate(self, row: int) -> str:
        """Name a row in a message."""
        return self.parts[row >> _ROW_BITS].locate(row & (1 << _ROW_BITS) - 1)


def is_table(path: Path) -> bool:
    """Return whether a path is that of a table or a container, judged by its suffix, or of a folder of containers."""
    return bool(list_containers(path)) if path.is_dir() else path.suffix.lower() in TABLES


def folder_of(path: Path) -> Path:
    """Return the folder that the names of a table's images are relative to."""
    return path if path.is_dir() else path.parent


def list_containers(folder: Path) -> list[Path]:
    """List the containers in a folder, in the order of names; none where it holds image files as well."""
    found: list[Path] = []
    for base, folders, names in remote.walk(folder):  # not far: the depth is bounded
        if len(base.relative_to(folder).parts) == MOST_FOLDERS:
            folders.clear()
        folders[:] = [name for name in folders if not is_system_name(name)]
        for name in names:
            if suffix(name) in IMAGE_SUFFIXES and not is_system_name(name):
                return []
            if suffix(name) in READERS and not name.startswith((".", _TEMPORARY)):
                found.append(base / name)
    return sorted(found) if found and not list_files(folder).all.images else []


def list_images(path: Path, columns: Mapping[str, str]) -> list[Path]:
    """List the images of a table, in the order of its rows; it needs no labels.

    Parameters
    ----------
    path : Path
    columns : mapping of str to str
        Names of columns by role.

    Raises
    ------
    UserError
        If the table can't be read, or has no rows, or a row names no file.
    """
    table = open_images(path, columns, [FILE])
    chosen = choose_columns(table, {**table.defaults, **columns}, [FILE], [])
    found = []
    for number, (value,) in table.rows([chosen[FILE]]):
        if not (name := as_text(value)):
            raise UserError(f"{table.locate(number)}: the file is empty; fill it in, or take the row out")
        found.append(table.folder / name)
    if not found:
        raise UserError(f"{path} names no images; give a table with a row for each")
    return found


def open_images(path: Path, columns: Mapping[str, str], required: Sequence[str] = ()) -> Table:
    """Read the names of the columns of a table of images, or of containers.

    Parameters
    ----------
    path : Path
        Of a table, a container or a folder of containers.
    columns : mapping of str to str
        Names of columns by role.
    required : sequence of str
        Roles of columns that it should have. With labels, names of containers say their splits.

    Returns
    -------
    Table

    Raises
    ------
    UserError
        If it can't be read.
    """
    paths = (
        list_containers(path) if path.is_dir() else [path] * (suffix(path.name) in READERS and path.is_file())
    )
    kinds = sorted({suffix(one.name) for one in paths})
    if len(kinds) > 1:
        raise UserError(f"{path} has files of images of the kinds {' and '.join(kinds)}; keep one kind")
    parts: list[Table] = []
    for one in paths:
        part = _open(one, {**parts[0].defaults, **columns} if parts else columns)
        if part is not None:
            parts.append(part)
        elif path.is_dir() or suffix(path.name) == arrow_images.ARROW:
            name = columns.get(FILE) or (parts[0].defaults[FILE] if parts else None)
            named = f" {name!r}" if name else ""
            raise UserError(f"{one} has no column{named} of images: bytes, or structures of bytes and path")
    if not parts:
        return open_table(path, [columns.get(role, role) for role in required])
    if LABEL in required and parts[0].names == [FILE]:
        raise UserError(f"{parts[0].path} has no labels; put 0001.cls or 0001.json beside 0001.jpg")
    is_named = LABEL in required and path.is_dir() and SPLIT not in {*parts[0].names, *columns}
    splits = _splits(path, parts) if is_named else []
    return Containers(path, [*parts[0].names, *([SPLIT] if splits else [])], parts=parts, splits=splits)


def _open(path: Path, columns: Mapping[str, str]) -> Table | None:
    try:
        if suffix(path.name) == tar_files.SUFFIX:
            if columns.get(FILE, FILE) != FILE:
                raise UserError(
                    f"{path} is a tar, whose images are its members; leave out `columns='file=…'`"
                )
            return tar_files.open_tar(path)
        return arrow_images.open_arrow(path, columns)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror or error}") from error


def _splits(folder: Path, parts: Sequence[Table]) -> list[str]:
    """Return the split of each container by its name, or that of a folder around it; empty where no name says one."""
    found = []
    for part in parts:
        names = reversed(part.path.relative_to(folder).parts)
        found.append(next((split for name in names if (split := split_of(name)) in SPLITS), None))
    if not any(found):
        return []
    for part, split in zip(parts, found, strict=True):
        if split is None:
            raise UserError(
                f"{part.path} is of no split by its name, unlike others in {folder}; name it as train, valid or test, "
                "or move it away"
            )
    return [split for split in found if split]
