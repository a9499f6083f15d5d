"""Inventory of a store: entries with their size and last use, their damage, and what killed runs left."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.cache import old_shards, shards
from transfer.cache.shards import SET_ASIDE, Damaged, NewerVersion
from transfer.cache.store import (
    FEATURES,
    MADE,
    MADE_KINDS,
    MAX_RECORD_BYTES,
    TRIALS,
    Store,
    folder_name,
    made_path,
)
from transfer.config import BUILT_IN
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.remote import RemotePath

# A folder or a file that is being deleted is called so first: whatever happens then, nobody takes it for an entry.
PRUNED = ".pruned-"
_KEY = re.compile("[0-9a-f]{32}")
_LAGOON = re.compile(r"lagoon-v\d+-seed\d+")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An item of the store that can be deleted on its own, and is made again when it is needed."""

    kind: str
    """`features`, `weights`, `calibrated`, `finetuned`, `trials` or `lagoon`."""
    path: Path
    """A folder or a file, which a process that uses the entry locks."""
    record: Path
    """The file that says what it depends on; of features, their folder: each file in it does."""
    words: str
    """What it depends on; empty if that can't be read."""
    images: int | None
    bytes: int
    used: float
    """Time of the last use, in seconds since 1970."""

    @property
    def key(self) -> str:
        """Name in the store."""
        return self.path.stem


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A file or folder without use: unfinished work of a killed process, or a damaged shard."""

    path: Path
    reason: str
    bytes: int


def list_entries(root: Path) -> list[Entry]:
    """List all entries of a store, the last used first.

    Parameters
    ----------
    root : Path

    Returns
    -------
    list of Entry

    Raises
    ------
    UserError
        If there is no store at `root`.
    """
    if isinstance(root, RemotePath):
        copy = Store(root).root
        raise UserError(
            f"a store behind a URL has no inventory; {copy} is the copy of {root} on this machine"
        )
    if not root.is_dir():
        raise UserError(f"no store at {root}; name another by `store`")
    found = [_table(folder) for folder in _folders(root / FEATURES)]
    found += [_made(kind, folder) for kind in MADE_KINDS for folder in _folders(root / kind)]
    found += [
        _trials(path) for path in files.list_matching(root / TRIALS, "*.json") if _KEY.fullmatch(path.stem)
    ]
    found.append(_drawn(root / BUILT_IN))
    return sorted(filter(None, found), key=lambda entry: -entry.used)


def find_faults(entry: Entry) -> Iterator[str]:
    """Yield a line for each part of an entry that is not as it was written; every checksum is computed again.

    The built-in images have no checksums.
    """
    try:
        if entry.kind == FEATURES:
            yield from _table_faults(entry)
        elif not entry.words:
            yield f"{entry.record}: not what was written"
        elif entry.kind in MADE_KINDS:
            yield from _made_faults(entry)
    except FileNotFoundError:  # pruned in this moment
        pass
    except OSError as error:
        yield f"{error.filename or entry.path}: {error.strerror}"


def list_leftovers(root: Path) -> list[Leftover]:
    """Return what killed processes left a day ago or earlier, and shards that were set aside."""
    found: list[Leftover] = []

    def add(paths: Iterable[Path], reason: str) -> None:
        found.extend(Leftover(path=path, reason=reason, bytes=_size(path)) for path in sorted(paths))

    tables = list(_folders(root / FEATURES))
    made = [folder for kind in MADE_KINDS for folder in _folders(root / kind)]
    drawn = [path for path in files.list_matching(root / BUILT_IN, "lagoon-*/*/*") if path.is_dir()]
    for folder in (root, *(root / kind for kind in (FEATURES, *MADE_KINDS, TRIALS))):
        add(files.list_matching(folder, f"{PRUNED}*"), "not deleted to the end")
    for folder in (*made, *drawn, root / TRIALS):
        add(files.list_abandoned(folder), "not written to the end")
    for folder in tables:
        add(shards.list_abandoned(folder), "not written to the end")
        add(files.list_matching(folder, f"*{SET_ASIDE}"), "damaged, set aside")
    empty = [folder for folder in tables if not _table(folder)] + [
        folder for folder in made if not os.path.lexists(folder / MADE)
    ]
    add((folder for folder in empty if files.is_abandoned(folder)), "not written to the end")
    return found


def _table(folder: Path) -> Entry | None:
    found = [shard for shard, _ in shards.read_headers(folder)]
    set_aside = files.list_matching(folder, f"*{SET_ASIDE}")
    if not shards.list_shards(folder) and not set_aside:  # begun, and then nothing
        return None
    declared = (shard.declared for shard in found if folder_name(shard.declared) == folder.name)
    images = sum(shard.shape[0] for shard in found)
    return _entry(FEATURES, folder, folder, _in_words(next(declared, None)), images)


def _made(kind: str, folder: Path) -> Entry | None:
    if not os.path.lexists(folder / MADE):
        return None
    return _entry(kind, folder, folder / MADE, _in_words(_sealed(folder / MADE).get("declared")))


def _trials(path: Path) -> Entry | None:
    return _entry(TRIALS, path, path, _in_words(_sealed(path).get("declared")))


def _drawn(folder: Path) -> Entry | None:
    """Return the entry of the built-in images; None if there are none, or other files lie among them."""
    names = [path.name for path in files.list_matching(folder, "[!.]*")]
    if not names or not all(_LAGOON.fullmatch(name) for name in names):
        return None
    images = len(files.list_matching(folder, "*/*/*/*.jpg"))
    return _entry(BUILT_IN, folder, folder, "the built-in images", images)


def _entry(kind: str, path: Path, record: Path, words: str, images: int | None = None) -> Entry | None:
    try:
        used = path.stat().st_mtime
    except OSError:  # pruned in this moment
        return None
    return Entry(
        kind=kind, path=path, record=record, words=words, images=images, bytes=_size(path), used=used
    )


def _table_faults(entry: Entry) -> Iterator[str]:
    if not _key_is_whole(entry.path):
        yield f"{entry.path / old_shards.KEY}: not what was written"
    for path in sorted(shards.list_shards(entry.path)):
        try:
            shards.read(path)
        except (FileNotFoundError, NewerVersion):  # merged into another in this moment; not ours to judge
            continue
        except OSError as error:
            yield f"{error.filename or path}: {error.strerror}"
        except Damaged as damage:
            yield f"{path}: {damage}"


def _key_is_whole(folder: Path) -> bool:
    """Return whether the file in which a store of version 2 says what features depend on, if any, is of this folder."""
    try:
        declared = json.loads(files.read(folder / old_shards.KEY, old_shards.MAX_BYTES))
        return folder_name(declared) == folder.name
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False


def _made_faults(entry: Entry) -> Iterator[str]:
    sha256 = str(_sealed(entry.record).get("sha256"))
    path = made_path(entry.path, sha256)
    if not os.path.lexists(path) or files.file_sha256(path) != sha256:
        yield f"{path}: not what was written"


def _sealed(path: Path) -> dict[str, Any]:
    """Read a sealed object from a file; an empty one if it is not whole."""
    try:
        return files.unseal(files.read(path, MAX_RECORD_BYTES))
    except (OSError, ValueError):
        return {}


def _in_words(declared: object) -> str:
    """Summarise what features, weights or trials depend on; empty if nothing is declared."""
    if not isinstance(declared, dict) or "backbone" not in declared:
        return ""
    size, layers, maps, view, recipe = (
        declared.get(name) for name in ("size", "layers", "maps", "view", "recipe")
    )
    words = [
        f"{declared['backbone']}",
        "x".join(map(str, size)) if isinstance(size, list) else "",
        " ".join(map(str, layers)) if isinstance(layers, list) else "",
        *(str(declared.get(name, "")) for name in ("method", "adapt")),
        f"learning rate {recipe.get('lr_blocks')}, {recipe.get('epochs')} epochs"
        if isinstance(recipe, dict)
        else "",
        f"maps before {maps.get('block')}" if isinstance(maps, dict) else "",
        f"view {view.get('number')} of seed {view.get('seed')}" if isinstance(view, dict) else "",
        " ".join(str(declared[name]) for name in ("engine", "precision") if name in declared),
        f"seed {declared['seed']}" if "seed" in declared else "",
        f"weights {str(declared['weights_sha256'])[:8]}" if "weights_sha256" in declared else "",
        f"{declared.get('decoder', '')}",
        f"torch {declared['torch']}" if "torch" in declared else "",
        f"on {declared['machine']}" if "machine" in declared else "",
    ]
    return ", ".join(filter(None, words))


def _folders(folder: Path) -> Iterator[Path]:
    """Yield the folders that are named by a key; others do not belong to the store."""
    for path in files.list_matching(folder):
        if _KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def _size(path: Path) -> int:
    """Return the bytes of a file, or of the files below a folder; 0 if it is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(_size(child) for child in path.iterdir())
        return path.lstat().st_size
    except OSError:
        return 0
