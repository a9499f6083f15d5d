"""Paths that a user names: the images that they stand for, and folders that are not to be written to."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from transfer.config import BUILT_IN
from transfer.data.class_folders import describe_lost
from transfer.data.formats import IMAGE_SUFFIXES, suffix
from transfer.data.image_tables import is_table, list_images
from transfer.data.listing import list_files
from transfer.data.members import container_of
from transfer.data.names import Names
from transfer.data.split_folders import is_output
from transfer.system import remote
from transfer.system.errors import UserError
from transfer.system.files import sha256
from transfer.system.remote import RemotePath, path_of
from transfer.system.run_files import PREDICTIONS

# In place of a path: names come from standard input.
STANDARD_INPUT = Path("-")


def find_named(
    given: Iterable[Path], read_input: Callable[[], bytes], *, must_exist: bool, out: Path | None = None
) -> Iterator[Path]:
    """Find what a user names: paths, patterns that no shell expanded, and names on standard input.

    Parameters
    ----------
    given : iterable of Path
        Files, folders, patterns such as `new/*.jpg` and `new/**` (hidden files are left out, as a shell does), or `-`.
    read_input : callable
        Returns standard input: a name a line, or names with a NUL after each.
    must_exist : bool
        Whether a path that is not there is an error; a pattern that matches nothing always is one.
    out : Path, optional
        A file that will be written, and may be none of them.

    Yields
    ------
    Path

    Raises
    ------
    UserError
        For a name that matches nothing, and for one of `out`.
    """
    urls: set[Path] = set()
    written = out.stat() if out and out.exists() else None
    for path in given:
        if path == STANDARD_INPUT:
            data = read_input()
            lines = data.split(b"\0") if b"\0" in data else data.splitlines()
            if not any(lines):
                raise UserError("there are no names on standard input; give one a line")
            found: Iterable[Path] = (path_of(os.fsdecode(line)) for line in lines if line)
        else:
            found = _matches(path)
        for one in found:
            if isinstance(one, RemotePath) and one.parts[0].startswith("http"):
                if one in urls:
                    raise UserError(
                        f"{one} is named twice, maybe with two queries; name it once in a command"
                    )
                urls.add(one)
            if must_exist and not one.exists() and not container_of(one):
                raise UserError(f"no such file or folder: {one}")
            if (
                written
                and not isinstance(one, RemotePath)
                and one.exists()
                and os.path.samestat(one.stat(), written)
            ):
                raise UserError(f"{out} would be written over; give another `out`")
            yield one


def _matches(path: Path) -> list[Path]:
    """List what a pattern matches, in the order of names; a path that is no pattern, or is there, is itself."""
    pattern = str(path)
    if isinstance(path, RemotePath) or not glob.has_magic(pattern) or path.exists() or container_of(path):
        return [path]
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 (absolute ones too)
    if not found:
        raise UserError(f"nothing matches {pattern}")
    # Of a folder that `**` matches, the files are matched too.
    return ([one for one in found if not one.is_dir()] or found) if "**" in path.parts else found


def list_image_files(
    given: Iterable[Path], columns: Mapping[str, str] = MappingProxyType({})
) -> tuple[Names, dict[str, str]]:
    """List files, for each folder the images in it at any depth, and for each table the files that it names.

    Parameters
    ----------
    given : iterable of Path
        Files, folders and tables.
    columns : mapping of str to str
        Names of columns, as for `label_tables.find`.

    Returns
    -------
    files : Names
        Paths in the order given, those of a folder in the order of names.
    left_out : dict of str to str
        The files in the folders that are not images, and the reason.

    Raises
    ------
    UserError
        If a folder has no images, or a table can't be read.
    """
    left_out: dict[str, str] = {}

    def found() -> Iterator[str]:
        for path in given:
            if is_table(path):
                yield from map(str, list_images(path, columns))
                continue
            if not path.is_dir():
                yield str(path)
                continue
            files = list_files(path, once_in=0).all
            if not files.images:
                raise UserError(
                    f"no images in {path}: {describe_lost(files, path)}; {image_suffixes()} files are wanted"
                )
            yield from (str(path / name) for name in files.images)
            left_out.update({str(path / name): "no image, or a broken link" for name in files.not_images})

    return Names.of(found()), left_out


def describe_source(named: str) -> dict[str, str]:
    """Return the name of data (`data`) and the sha256 of where they lie (`source_sha256`).

    The sha256 distinguishes data of one name without naming their path: a result or a model may be given away.
    """
    source = BUILT_IN if named == BUILT_IN else str(path_of(named).resolve())
    return {"data": Path(source).name, "source_sha256": sha256(os.fsencode(source))}


def check_output(named: str, out: Path) -> None:
    """Check that an output folder does not lie among images.

    Parameters
    ----------
    named : str
        Folder of the image set, or file of a table; or the built-in image set.
    out : Path
        Output folder.

    Raises
    ------
    UserError
        If `out` is, or lies in, a folder of images of the image set; if it holds images, and lies in the folder of the
        table; if the table would be written over.
    """
    if named == BUILT_IN or isinstance(data := path_of(named), RemotePath):
        return
    real = out.resolve()
    if data.resolve() == real / PREDICTIONS:
        raise UserError(f"{data} would be written over by the predictions of the run; give another `out`")
    beside_table = data.is_file() and is_table(data) and real.is_relative_to(data.parent.resolve())
    inside = real.iterdir() if beside_table and real.is_dir() and not is_output(real) else ()
    if any(suffix(path.name) in IMAGE_SUFFIXES for path in inside):
        raise UserError(f"{out} holds images; give an `out` beside them")
    if place := _folder_around(data, real):
        raise UserError(f"{out} lies in {place}, which holds images; give an `out` beside {data}")


def check_store(named: str, store: Path) -> None:
    """Raise `UserError` for a store that is a folder of images, or lies in the images of a class or a split."""
    if named == BUILT_IN or isinstance(data := path_of(named), RemotePath) or isinstance(store, RemotePath):
        return
    real = store.resolve()
    place = data if data.is_dir() and real == data.resolve() else _folder_around(data, real)
    if place:
        raise UserError(
            f"the store {store} lies in {place}, which holds images; give a `store` beside {data}"
        )


def _folder_around(data: Path, real: Path) -> Path | None:
    """Return the folder with images, in the folder of an image set, that a path lies in; None if there is none."""
    for folder in (data / name for name in folders_in(data)):
        # Class folders within split folders count by themselves only where they lie elsewhere.
        inner = [folder / name for name in folders_in(folder, links=True)]
        for place in (folder, *inner):
            lies_in = real.is_relative_to(place.resolve()) and not is_output(folder)
            if lies_in and list_files(place, once_in=0).all.images:
                return place
    return None


def folders_in(folder: Path, *, links: bool = False) -> list[str]:
    """Return the names of the folders in a folder, or of links to folders alone."""
    if not folder.is_dir():
        return []
    if isinstance(folder, RemotePath):
        return [] if links else next(remote.walk(folder))[1]
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir() and (entry.is_symlink() or not links)]


def image_suffixes() -> str:
    """List the suffixes of image files, for messages."""
    return ", ".join(sorted(IMAGE_SUFFIXES))
