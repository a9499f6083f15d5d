"""Paths that a user names: the images that they stand for, and folders that are not to be written to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from transfer.config import PREDICTIONS
from transfer.data.class_folders import describe_lost
from transfer.data.formats import IMAGE_SUFFIXES
from transfer.data.image_tables import is_table, list_images
from transfer.data.listing import list_files
from transfer.data.split_folders import is_output
from transfer.system.errors import UserError


def below(
    given: Iterable[Path], columns: Mapping[str, str] = MappingProxyType({})
) -> tuple[list[Path], dict[str, str]]:
    """List files, for each folder the images in it at any depth, and for each table the files that it names.

    Parameters
    ----------
    given : iterable of Path
        Files, folders and tables.
    columns : mapping of str to str
        Names of columns, as for `label_tables.find`.

    Returns
    -------
    files : list of Path
        In the order given, those of a folder in the order of names.
    left_out : dict of str to str
        The files in the folders that are not images, and the reason.

    Raises
    ------
    UserError
        If a folder has no images, or a table can't be read.
    """
    found: list[Path] = []
    left_out: dict[str, str] = {}
    for path in given:
        if is_table(path):
            found += list_images(path, columns)
            continue
        if not path.is_dir():
            found.append(path)
            continue
        files = list_files(path, once_in=0).all
        if not files.images:
            raise UserError(
                f"no images in {path}: {describe_lost(files, path)}; {image_suffixes()} files are wanted"
            )
        found += [path / name for name in files.images]
        left_out |= {str(path / name): "no image, or a broken link" for name in files.not_images}
    return found, left_out


def check_output(data: Path, out: Path) -> None:
    """Check that an output folder does not lie among images.

    Parameters
    ----------
    data : Path
        Folder of the image set, or file of a table.
    out : Path
        Output folder.

    Raises
    ------
    UserError
        If `out` is, or lies in, a folder of images of the image set, or the table would be written over.
    """
    real = out.resolve()
    if data.resolve() == real / PREDICTIONS:
        raise UserError(f"{data} would be written over by the predictions of the run; give another `out`")
    for folder in (data / name for name in folders_in(data)):
        # Class folders within split folders count by themselves only where they lie elsewhere.
        inner = [folder / name for name in folders_in(folder, links=True)]
        for place in (folder, *inner):
            inside = real.is_relative_to(place.resolve()) and not is_output(folder)
            if inside and list_files(place, once_in=0).all.images:
                raise UserError(f"{out} lies in {place}, which holds images; give an `out` beside {data}")


def folders_in(folder: Path, *, links: bool = False) -> list[str]:
    """Return the names of the folders in a folder, or of links to folders alone."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir() and (entry.is_symlink() or not links)]


def image_suffixes() -> str:
    """List the suffixes of image files, for messages."""
    return ", ".join(sorted(IMAGE_SUFFIXES))
