"""Folders that a user gives: the images below them, and folders that are not to be written to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from transfer.data.class_folders import describe_lost
from transfer.data.formats import IMAGE_SUFFIXES
from transfer.data.layout import is_output
from transfer.data.listing import list_files
from transfer.system.errors import UserError


def below(given: Iterable[Path]) -> tuple[list[Path], dict[str, str]]:
    """List files, and for each folder the images in it at any depth.

    Parameters
    ----------
    given : iterable of Path
        Files and folders.

    Returns
    -------
    files : list of Path
        In the order given, those of a folder in the order of names.
    left_out : dict of str to str
        The files in the folders that are not images, and the reason.

    Raises
    ------
    UserError
        If a folder has no images.
    """
    found: list[Path] = []
    left_out: dict[str, str] = {}
    for path in given:
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
        Folder of the image set.
    out : Path
        Output folder.

    Raises
    ------
    UserError
        If `out` is, or lies in, a folder of images of the image set.
    """
    real = out.resolve()
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
