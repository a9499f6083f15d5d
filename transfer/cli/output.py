"""The folders that --out names."""

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


def not_printed(error: OSError, out: Path | None) -> UserError:
    """Return the error of a result that standard output does not take: it says where the result is."""
    kept = f"the result is in {out}" if out else "give --out to keep the result"
    return UserError(f"can't write to standard output ({error.strerror}); {kept}")
