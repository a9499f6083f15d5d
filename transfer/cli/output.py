"""The folders that --out names, and results that can't be written or printed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from transfer.system.errors import UserError


@contextlib.contextmanager
def output_folders(*folders: Path | None) -> Iterator[None]:
    """Make the folders of --out, the outer one first; those that are empty when a run fails are removed again.

    Raises
    ------
    UserError
        Where one can't be made or written to.
    """
    wanted = [folder for folder in folders if folder]
    inner_first = [path for folder in reversed(wanted) for path in (folder, *folder.parents)]
    made = [path for path in dict.fromkeys(inner_first) if not path.exists()]
    try:
        for folder in wanted:
            _make_folder(folder)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't make {folder} ({error.strerror}); give another --out") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"can't write to {folder}; give another --out")


@contextlib.contextmanager
def printing(out: Path | None, failed: UserError | None = None) -> Iterator[None]:
    """Print a result in the block, which is written to `out` already.

    Parameters
    ----------
    out : Path or None
    failed : UserError, optional
        Why it could not be written; raised at the end, whether it could be printed or not.

    Raises
    ------
    UserError
        `failed`, or for a standard output that takes nothing: it says where the result is.
    BrokenPipeError
        Where the reader of standard output had enough.
    """
    try:
        yield
    except OSError as error:
        if failed:
            raise failed from error
        if isinstance(error, BrokenPipeError):
            raise
        kept = f"the result is in {out}" if out else "give --out to keep the result"
        raise UserError(f"can't write to standard output ({error.strerror}); {kept}") from error
    if failed:
        raise failed
