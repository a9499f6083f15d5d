"""Where files are kept that no option places."""

from __future__ import annotations

import os
from pathlib import Path

from transfer.system.errors import UserError
from transfer.system.remote import expand


def default_store() -> Path:
    """Return where features are kept: `TRANSFER_STORE`, else the user's cache folder.

    Raises `UserError` where there is neither: in a container, a user without an entry in its list of users.
    """
    if given := os.environ.get("TRANSFER_STORE"):
        return expand(given, urls=True)
    return user_cache()


def user_cache() -> Path:
    """Return the user's cache folder; raises `UserError` where there is none."""
    import platformdirs  # nothing from elsewhere is imported before a command runs

    try:
        return Path(platformdirs.user_cache_dir("transfer", appauthor=False)).expanduser()
    except RuntimeError:
        raise UserError("no home folder is known; name a store by `store` or TRANSFER_STORE") from None
