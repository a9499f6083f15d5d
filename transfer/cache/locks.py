"""Locks on what running processes use, so that pruning leaves it alone.

A process that uses a file or a folder of the store holds a shared lock on it, which ends with the process however
that ends. Only pruning asks for locks: whatever is read is checked, so features are right where locks do nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.system.errors import UserError

# Where locks do nothing (some network file systems), what was used so lately is left alone.
RECENT_S = 24 * 3600
DELETED_WITHIN_S = 1.0
TRIES = 100


class SharedLock:
    """A shared lock, held while this object lives."""

    def __init__(self, descriptor: int) -> None:
        self._close = weakref.finalize(self, os.close, descriptor)


def hold(path: Path) -> SharedLock | None:
    """Lock a file or a folder against deletion, waiting for a deletion under way.

    Parameters
    ----------
    path : Path

    Returns
    -------
    SharedLock or None
        None if it does not exist.

    Raises
    ------
    OSError
        If it can't be opened.
    """
    until = time.monotonic() + DELETED_WITHIN_S
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        lock = SharedLock(descriptor)
        if _lock(descriptor, exclusive=False) and _is_at(descriptor, path):
            return lock
        if time.monotonic() > until:  # whoever deletes it was stopped on the way
            return lock
        time.sleep(0.005)


def hold_new(folder: Path) -> SharedLock:
    """Create a folder if it does not exist, and lock it against deletion; raises as `make` and `hold` do."""
    while True:
        make(folder)
        if lock := hold(folder):  # unless it was pruned before it was held
            return lock


def make(folder: Path) -> None:
    """Create a folder if it does not exist, even while others are pruned.

    Raises
    ------
    UserError
        If that can't be done.
    """
    for tried in range(TRIES + 1):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except OSError as error:
            # It may have been there, and gone when `mkdir` looked what it is; or there is a file in its place.
            if not isinstance(error, FileExistsError) or tried == TRIES:
                why = f"can't make {folder} in the store ({error.strerror})"
                raise UserError(f"{why}; name another by `store`") from error


def mark(path: Path) -> None:
    """Mark a file or a folder as used now."""
    with contextlib.suppress(OSError):  # who may only read the store marks nothing
        os.utime(path)


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Yield whether no other process uses a file or a folder; none can begin to during the block."""
    try:
        first, second = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2))
    except OSError:
        yield False
        return
    try:
        yield _alone(first, second) and _is_at(first, path)
    finally:
        os.close(first)
        os.close(second)


def _alone(first: int, second: int) -> bool:
    if not _lock(first, exclusive=True):
        return False
    if not _lock(second, exclusive=True):
        return True
    # Two have it to themselves, so locks mean nothing here.
    return os.fstat(first).st_mtime < time.time() - RECENT_S


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether a descriptor still refers to what lies at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _lock(descriptor: int, *, exclusive: bool) -> bool:
    """Lock without waiting; False if another process has the lock. Without support for locks it always succeeds."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
