"""Listing of the files below a folder, at any depth and through linked folders: images, other files, system files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from transfer.data.formats import IMAGE_SUFFIXES, is_image_file, suffix
from transfer.data.names import Names
from transfer.data.threads import READERS
from transfer.system import remote
from transfer.system.remote import RemotePath
from transfer.system.thread_pools import StartedPool

# Besides whatever begins with a dot; in lower case.
SYSTEM_NAMES = frozenset(
    {
        "@eadir", "@recently-snapshot", "@recycle", "@sharebin", "@tmp", "#recycle", "#snapshot",
        "$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini",
        "__macosx", "icon\r", "network trash folder", "temporary items", "lost+found",
    }
)  # fmt: skip
# Suffixes that a message names; of the others it has the number.
SUFFIXES_NAMED = 3
_by_name = attrgetter("name")


@dataclass(frozen=True, eq=False)
class Files:
    """The files of one folder; names relative to the root of the listing, compared part by part, as paths are."""

    images: Names = field(default_factory=lambda: Names.of(()))
    not_images: list[str] = field(default_factory=list)
    """Files that are not images, and broken links."""
    ignored: list[str] = field(default_factory=list)
    """Hidden files, system files, links to folders that are listed already. A folder counts once."""

    @classmethod
    def join(cls, parts: Iterable[Files]) -> Files:
        """Concatenate the files of all `parts`."""
        parts = list(parts)
        return cls(
            Names.join(part.images for part in parts),
            [name for part in parts for name in part.not_images],
            [name for part in parts for name in part.ignored],
        )

    @property
    def others(self) -> list[str]:
        """All files that are not images."""
        return self.not_images + self.ignored


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder at the top of a listing."""

    runs: list[tuple[str | None, Files]] = field(default_factory=list)
    """Its subfolders by name, and its own files (None), in the order of names."""

    @property
    def subfolders(self) -> dict[str, Files]:
        """The files of each subfolder, at any depth."""
        return {name: files for name, files in self.runs if name is not None}

    @property
    def own(self) -> Files:
        """The files outside subfolders."""
        return Files.join(files for name, files in self.runs if name is None)

    @property
    def all(self) -> Files:
        """All files, at any depth."""
        return Files.join(files for _, files in self.runs)

    @property
    def n_images(self) -> int:
        """Number of images, at any depth."""
        return sum(len(files.images) for _, files in self.runs)


@dataclass(frozen=True, eq=False)
class Listing:
    """All files below a folder."""

    runs: list[tuple[tuple[str, ...], Files]]
    """Files in the order of names, and the subfolders they lie in: none, one or two names."""
    followed: bool
    """Whether there are links to folders among it."""

    @cached_property
    def folders(self) -> dict[str, Folder]:
        """The subfolders, in the order of names."""
        folders: dict[str, Folder] = {}
        for key, files in self.runs:
            if key:
                runs = folders.setdefault(key[0], Folder()).runs
                runs.append((key[1] if len(key) > 1 else None, files))
        return folders

    @property
    def own(self) -> Files:
        """The files outside subfolders."""
        return Files.join(files for key, files in self.runs if not key)

    @property
    def all(self) -> Files:
        """All files, at any depth."""
        return Files.join(files for _, files in self.runs)

    def without(self, names: Collection[str]) -> Listing:
        """Return the listing without some of the subfolders."""
        return Listing([run for run in self.runs if not run[0] or run[0][0] not in names], self.followed)


def list_files(root: Path, *, once_in: int = 2) -> Listing:
    """List the files below `root`.

    Links to folders are followed, unless they lead to a folder that contains them. An image is recognised by its
    suffix, or, if the suffix is not that of an image, by its first bytes.

    Parameters
    ----------
    root : Path
        The folder.
    once_in : int
        Depth, from 0 for `root` to 2, of the folders in each of which no linked folder is listed twice.

    Returns
    -------
    Listing

    Raises
    ------
    OSError
        If a folder can't be listed.
    """
    if isinstance(root, RemotePath):
        return _list_remote(root)
    walk = _Walk(os.fspath(root), once_in)
    walk.run()
    return Listing(walk.runs, walk.followed)


def _list_remote(root: RemotePath) -> Listing:
    """List the files below a URL as a folder of this machine is listed; there are no links."""
    runs: list[tuple[tuple[str, ...], Files]] = []
    shown = ((_shown(entry.name), entry.name) for entry in remote.list_files(root))
    with StartedPool(READERS) as pool:
        for key, found in groupby(shown, lambda pair: tuple(pair[0].rstrip("/").split("/")[:-1][:2])):
            names, ignored = list[str](), dict[str, None]()
            for short, name in found:
                if is_system_name(short.rstrip("/").rpartition("/")[2]):
                    ignored[short] = None
                else:
                    names.append(name)
            unsure = [name for name in names if suffix(name) not in IMAGE_SUFFIXES]
            are_images = pool.map(lambda name: is_image_file(root / name), unsure)
            others = [name for name, is_image in zip(unsure, are_images, strict=True) if not is_image]
            images = sorted({*names} - {*others}, key=lambda name: name.split("/"))
            runs.append((key, Files(Names.of(images), others, list(ignored))))
    return Listing(runs, followed=False)


def _shown(name: str) -> str:
    """Return a name, or that of the first hidden or system folder that it lies in, with a slash."""
    parts = name.split("/")
    at = next((i for i, part in enumerate(parts[:-1], 1) if is_system_name(part)), None)
    return name if at is None else "/".join(parts[:at]) + "/"


def describe_suffixes(names: Sequence[str], root: Path) -> str:
    """Count the files by suffix, in words: `12 .xml, 3 without a suffix`."""
    counts = Counter(_kind(root / name) for name in names)
    named = [f"{count} {kind}" for kind, count in counts.most_common(SUFFIXES_NAMED)]
    more = len(names) - sum(count for _, count in counts.most_common(SUFFIXES_NAMED))
    return ", ".join([*named, *([f"{more} more"] if more else [])])


def is_system_name(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or of a kind that systems create."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _kind(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "broken links"
    return suffix(path.name) or "without a suffix"


class _Walk:
    """A depth-first traversal in the order of names; not recursive, since folders may be nested deeply."""

    def __init__(self, root: str, once_in: int) -> None:
        self.root, self.once_in = root, once_in
        self.runs: list[tuple[tuple[str, ...], Files]] = []
        self.followed = False
        self.key: tuple[str, ...] = ()
        self.images: list[str] = []
        self.not_images: list[str] = []
        self.ignored: list[str] = []
        # Each folder on the way down: the entries that are left, its name with a slash, its real path.
        self.stack: list[tuple[Iterator[os.DirEntry[str]], str, str]] = []
        # Within one folder at the depth `once_in`: its real path, and those of folders that links led to.
        self.base, self.seen = "", set[str]()

    def run(self) -> None:
        self._enter("", os.path.realpath(self.root))
        while self.stack:
            entries, prefix, real = self.stack[-1]
            for entry in entries:
                name = prefix + entry.name
                if is_system_name(entry.name):
                    self.ignored.append(f"{name}/" if _is_folder(entry) else name)
                elif _is_folder(entry):
                    target = os.path.realpath(entry.path) if entry.is_symlink() else f"{real}/{entry.name}"
                    if self._is_listed(entry, target):
                        self.ignored.append(f"{name}/")
                    else:
                        self._enter(f"{name}/", target)
                        break
                elif _is_file(entry) and is_image_file(entry.path):
                    self.images.append(name)
                else:
                    self.not_images.append(name)
            else:
                self._leave()

    def _enter(self, prefix: str, real: str) -> None:
        depth = len(self.stack)
        if 0 < depth <= 2:
            self._end_run()
            self.key = tuple(prefix.split("/")[:depth])
        if depth <= self.once_in:
            self.base, self.seen = real, set()
        with os.scandir(os.path.join(self.root, prefix) if prefix else self.root) as found:  # noqa: PTH118
            self.stack.append((iter(sorted(found, key=_by_name)), prefix, real))

    def _leave(self) -> None:
        self.stack.pop()
        if len(self.stack) <= 2:
            self._end_run(even_empty=True)
            self.key = self.key[:-1]

    def _end_run(self, *, even_empty: bool = False) -> None:
        if even_empty or self.images or self.not_images or self.ignored:
            self.runs.append((self.key, Files(Names.of(self.images), self.not_images, self.ignored)))
            self.images, self.not_images, self.ignored = [], [], []

    def _is_listed(self, entry: os.DirEntry[str], target: str) -> bool:
        """Return whether a folder contains the current one, or is listed at another place; links are noted."""
        is_link, is_deep = entry.is_symlink(), len(self.stack) > self.once_in
        if is_link and any(_lies_in(real, target) for _, _, real in self.stack):
            return True
        self.followed |= is_link
        if is_link and is_deep and _lies_in(target, self.base):
            # The walk comes by, unless it would pass over a folder on the way.
            return not any(is_system_name(part) for part in target[len(self.base) :].split("/") if part)
        if is_deep and target in self.seen:
            return True
        if is_deep:
            self.seen.add(target)
        return False


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # as above
        return False
