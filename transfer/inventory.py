"""What lies in a store: entries with their size and last use, whether they are whole, and what killed runs left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer import files, shards
from transfer.config import BUILT_IN, UserError
from transfer.shards import KEY, SET_ASIDE, Damaged
from transfer.store import FEATURES, MADE, MAX_TOLD_BYTES, TRIALS, key_of

# A folder or a file that is being deleted is called so first: whatever happens then, nobody takes it for an entry.
PRUNED = ".pruned-"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something in the store that can be deleted on its own, and is made again when it is needed."""

    kind: str
    """`features`, `weights`, `calibrated`, `trials` or `lagoon`."""
    path: Path
    """A folder or a file. What is used is held by it, and it goes first when the entry is deleted."""
    beside: Path | None
    """A file that says what `path` is."""
    words: str
    """What it hangs on; empty where that can't be read."""
    images: int | None
    bytes: int
    used: float
    """When it was used last, in seconds since 1970."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        return self.path.stem


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A file or folder that nobody needs: what a killed process did not finish, what was damaged."""

    path: Path
    reason: str
    bytes: int


def entries(root: Path) -> list[Entry]:
    """All entries of a store, the one used last first. Raises `UserError` where there is no store."""
    if not root.is_dir():
        raise UserError(f"no store at {root}; name another by --store")
    found = [_shelf(folder) for folder in _folders(root / FEATURES)]
    for kind in MADE:
        found += [_made(kind, path) for path in sorted((root / kind).glob("[!.]*.safetensors"))]
    found += [_trials(path) for path in sorted((root / TRIALS).glob("[!.]*.json"))]
    found += [_drawn(root / BUILT_IN)] if any(_folders(root / BUILT_IN)) else []
    return sorted(found, key=lambda entry: -entry.used)


def faults(entry: Entry) -> Iterator[str]:
    """What of an entry is not as it was written, a line each; every checksum is computed again.

    The images of lagoon have none.
    """
    if not entry.words:
        yield f"{entry.beside or entry.path}: not what was written"
    if entry.kind == FEATURES:
        yield from _shelf_faults(entry)
    elif entry.kind in MADE:
        yield from _made_faults(entry)


def leftovers(root: Path) -> list[Leftover]:
    """What killed processes left a day ago or earlier, and shards that were set aside."""
    found: list[Leftover] = []

    def add(paths: Iterator[Path] | list[Path], reason: str) -> None:
        found.extend(Leftover(path=path, reason=reason, bytes=_size(path)) for path in sorted(paths))

    shelves = list(_folders(root / FEATURES))
    drawn = [path for path in (root / BUILT_IN).glob("*/*/*") if path.is_dir()]
    for folder in (root, *(root / kind for kind in (FEATURES, *MADE, TRIALS))):
        add(folder.glob(f"{PRUNED}*"), "not deleted to the end")
    for folder in (*shelves, *drawn, *(root / kind for kind in (*MADE, TRIALS))):
        add(files.abandoned(folder), "not written to the end")
        add(folder.glob(f"*{SET_ASIDE}"), "damaged, set aside")
    for folder in shelves:
        add(shards.orphans(folder), "not written to the end")
    return found


def _shelf(folder: Path) -> Entry:
    declared = _object(folder / KEY)
    known = key_of(declared).startswith(folder.name)
    return Entry(
        kind=FEATURES,
        path=folder,
        beside=folder / KEY,
        words=_in_words(declared) if known else "",
        images=sum(_rows(manifest) for manifest in shards.manifests(folder)),
        bytes=_size(folder),
        used=folder.stat().st_mtime,
    )


def _made(kind: str, path: Path) -> Entry:
    beside = path.with_suffix(".json")
    return Entry(
        kind=kind,
        path=path,
        beside=beside,
        words=_in_words(_sealed(beside).get("declared")),
        images=None,
        bytes=_size(path) + _size(beside),
        used=path.stat().st_mtime,
    )


def _trials(path: Path) -> Entry:
    words = _in_words(_sealed(path).get("declared"))
    return Entry(
        kind=TRIALS,
        path=path,
        beside=None,
        words=words,
        images=None,
        bytes=_size(path),
        used=path.stat().st_mtime,
    )


def _drawn(folder: Path) -> Entry:
    images = sum(1 for _ in folder.glob("*/*/*/*.jpg"))
    return Entry(
        kind=BUILT_IN,
        path=folder,
        beside=None,
        words="the built-in images",
        images=images,
        bytes=_size(folder),
        used=folder.stat().st_mtime,
    )


def _shelf_faults(entry: Entry) -> Iterator[str]:
    for manifest in sorted(shards.manifests(entry.path)):
        try:
            shards.read(manifest)
        except FileNotFoundError:  # merged into another in this moment
            continue
        except Damaged as damage:
            yield f"{manifest}: {damage}"


def _made_faults(entry: Entry) -> Iterator[str]:
    assert entry.beside
    told = _sealed(entry.beside)
    if told and files.file_sha256(entry.path) != told.get("sha256"):
        yield f"{entry.path}: not what was written"


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none."""
    try:
        found = json.loads(files.read(path, MAX_TOLD_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sealed(path: Path) -> dict[str, Any]:
    """The object that was sealed in a file; an empty one where it is not whole."""
    try:
        return files.unsealed(files.read(path, MAX_TOLD_BYTES))
    except (OSError, ValueError):
        return {}


def _in_words(declared: object) -> str:
    """What features, weights or trials hang on, as a person would say it; empty where nothing is declared."""
    if not isinstance(declared, dict) or "backbone" not in declared:
        return ""
    size = declared.get("size")
    words = [
        f"{declared['backbone']}",
        "x".join(map(str, size)) if isinstance(size, list) else "",
        " ".join(str(declared[name]) for name in ("engine", "precision") if name in declared),
        f"seed {declared['seed']}" if "seed" in declared else "",
        f"weights {str(declared['weights_sha256'])[:8]}" if "weights_sha256" in declared else "",
        f"{declared.get('decoder', '')}",
        f"torch {declared['torch']}" if "torch" in declared else "",
        f"on {declared['machine']}" if "machine" in declared else "",
    ]
    return ", ".join(filter(None, words))


def _rows(manifest: Path) -> int:
    try:
        return int(_object(manifest)["shape"][0])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return 0


def _folders(folder: Path) -> Iterator[Path]:
    """The folders in one, but for hidden ones and links."""
    for path in sorted(folder.glob("[!.]*")):
        if path.is_dir() and not path.is_symlink():
            yield path


def _size(path: Path) -> int:
    """Bytes of a file, or of the files below a folder; 0 where it is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(_size(child) for child in path.iterdir())
        return path.lstat().st_size
    except OSError:
        return 0
