"""Where files are kept that no option places."""

from __future__ import annotations

import os
from pathlib import Path

from transfer.system.errors import UserError
from transfer.system.remote import expand


def default_store() -> Path:
    """Return where features are kept: `TRANSFER_STORE`, else the user's cache folder.

    Raises
    ------
    UserError
        If there is neither, as for a user of a container that has no entry in `/etc/passwd`.
    """
    if given := os.environ.get("TRANSFER_STORE"):
        return expand(given, urls=True)
    return user_cache()


def user_cache() -> Path:
    """Return the user's cache folder; raise `UserError` if no home folder is known."""
    import platformdirs  # nothing from elsewhere is imported before a command runs

    try:
        return Path(platformdirs.user_cache_dir("transfer", appauthor=False)).expanduser()
    except RuntimeError:
        raise UserError("no home folder is known; name a store by `store` or TRANSFER_STORE") from None
