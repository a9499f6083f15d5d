"""Selection and deletion of entries of a store: never under a process that uses them."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer.cache.inventory import PRUNED, Entry, Leftover
from transfer.cache.locks import unused
from transfer.system.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The entries to delete: those that any of the conditions names; none without a condition."""

    older_than_s: float | None = None
    """Seconds since the last use."""
    max_bytes: int | None = None
    """Size of what is kept; the least recently used entries go first."""
    keys: tuple[str, ...] = ()
    """First letters of keys."""


def choose_entries(entries: Sequence[Entry], rule: Rule) -> list[Entry]:
    """Return the entries that a rule deletes, the least recently used first.

    Parameters
    ----------
    entries : sequence of Entry
    rule : Rule

    Returns
    -------
    list of Entry

    Raises
    ------
    UserError
        If no entry has the key of the rule, or several begin with it.
    """
    going = [entry for key in rule.keys for entry in _called(entries, key)]
    if rule.older_than_s is not None:
        oldest = time.time() - rule.older_than_s
        going += [entry for entry in entries if entry.used < oldest]
    if rule.max_bytes is not None:
        left = sum(entry.bytes for entry in entries if entry not in going)
        for entry in sorted(entries, key=lambda entry: entry.used):
            if left > rule.max_bytes and entry not in going:
                going.append(entry)
                left -= entry.bytes
    return sorted(set(going), key=lambda entry: (entry.used, entry.key))


def is_in_use(entry: Entry) -> bool:
    """Return whether a process uses an entry now."""
    with unused(entry.path) as free:
        return not free and entry.path.exists()


def delete(entry: Entry) -> bool:
    """Delete an entry unless a process uses it.

    Parameters
    ----------
    entry : Entry

    Returns
    -------
    bool
        Whether it is gone.

    Raises
    ------
    OSError
        If it can't be deleted.
    """
    with unused(entry.path) as free:
        if not free:
            return not entry.path.exists()
        gone = entry.path.with_name(f"{PRUNED}{uuid.uuid4().hex}")
        entry.path.rename(gone)  # at once, for whoever comes now
    _delete(gone)
    return True


def delete_leftovers(leftovers: Iterable[Leftover]) -> list[Leftover]:
    """Delete leftovers, except folders in use: a running training has only its checkpoint there.

    Returns
    -------
    list of Leftover
        Those that are kept.

    Raises
    ------
    OSError
        If one can't be deleted.
    """
    kept = []
    for leftover in leftovers:
        with unused(leftover.path) as free:
            if free or not leftover.path.is_dir():
                _delete(leftover.path)
            else:
                kept.append(leftover)
    return kept


def _called(entries: Sequence[Entry], key: str) -> list[Entry]:
    found = [entry for entry in entries if key and entry.key.startswith(key[:32])]
    if len({entry.path for entry in found}) != 1:
        keys = ", ".join(entry.key for entry in found[:3])
        several = f"several keys begin with it, such as {keys}; give more letters"
        raise UserError(
            f"`keys` is {key!r}; {several if found else 'no key begins with it; give the first letters of one'}"
        )
    return found


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # another process may delete it at the same time
        if path.exists():
            raise OSError(None, "can't delete it all", str(path))
    else:
        path.unlink(missing_ok=True)
