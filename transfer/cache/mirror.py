"""A store behind a URL, and the copy of it on this machine that is worked on.

Shards are immutable and named by their bytes, so that copies need no locks: what one side lacks is copied, and what was
copied once and is gone there was merged or deleted there. What has been copied is read-only here; a file that is
not has still to be put there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transfer.cache import locks, shards
from transfer.cache.shards import SET_ASIDE
from transfer.system import files, remote
from transfer.system.errors import UserError
from transfer.system.remote import RemotePath
from transfer.system.thread_pools import StartedPool
from transfer.system.user_folders import user_cache

# In the user's cache folder: copies of stores.
COPIES = "remote"
READERS = 8
# Times that a folder is listed until nothing of it is merged meanwhile.
TRIES = 20
_SHARD = re.compile(r"[0-9a-f]{64}\.parquet")
_COPIED = 0o444

log = logging.getLogger(__name__)


class Mirror:
    """A store behind a URL.

    Parameters
    ----------
    url : RemotePath
    """

    def __init__(self, url: RemotePath) -> None:
        if url.parts[0].startswith("http"):
            raise UserError(f"nothing can be kept in {url}; give a `store` on s3:// or gs://, or a folder")
        self.url = url
        self.folder = user_cache() / COPIES / f"{url.name}-{files.sha256(str(url).encode())[:16]}"
        """Its copy on this machine."""

    def fetch_shards(self, folder: Path) -> list[str]:
        """Bring a folder of shards up to date: copy those that it lacks, delete those that are gone from the store.

        Parameters
        ----------
        folder : Path
            Of the copy.

        Returns
        -------
        list of str
            Names of shards in the store that were not what was written, and were set aside there.

        Raises
        ------
        UserError
            If the store can't be reached.
        """
        damaged: list[str] = []
        for _ in range(TRIES):
            # In this order: what was copied before the store is listed, and is not in it, is gone from it.
            own = {path.name: _is_copied(path) for path in shards.list_shards(folder)}
            there = {name for name in self._names(folder) if _SHARD.fullmatch(name)}
            for name in own.keys() - there:
                if own[name]:
                    shards.delete(folder / name)
                    continue
                try:
                    self.put(folder / name)
                except FileNotFoundError:  # merged by another process here
                    pass
                except UserError as error:  # its rows are here all the same
                    log.warning("%s", error)
            if not (lacking := sorted(there - own.keys())):
                return damaged
            locks.make(folder)
            with StartedPool(min(READERS, len(lacking))) as pool:
                found = list(pool.map(lambda name: self._fetch_shard(folder / name), lacking))
            damaged += [name[:64] for name, is_whole in zip(lacking, found, strict=True) if is_whole is False]
            if None not in found:  # else it was merged since the store was listed
                return damaged
        raise UserError(f"{self._at(folder)} lists files that are not there; name another `store`")

    def fetch(self, folder: Path, names: re.Pattern[str]) -> None:
        """Copy the files of a folder that it lacks and whose names match. Raises `UserError`."""
        lacking = [
            name for name in self._names(folder) if names.fullmatch(name) and not (folder / name).exists()
        ]
        for name in sorted(lacking):
            self.fetch_file(folder / name)

    def fetch_file(self, path: Path) -> None:
        """Copy a file, if it is in the store, over what is here. Raises `UserError`."""
        with suppress(FileNotFoundError):
            data = files.read(self._at(path), shards.MAX_BYTES)
            locks.make(path.parent)
            files.write(path, data)

    def put(self, path: Path) -> None:
        """Put a file into the store, whole or not at all.

        Raises
        ------
        FileNotFoundError
            If it is not here any more.
        UserError
            If the store can't be reached.
        """
        data = files.read(path, shards.MAX_BYTES)
        with self._bucket_errors():
            self._at(path).write(data)
        path.chmod(_COPIED)

    def delete(self, path: Path) -> None:
        """Delete a file from the store, if it can be: a shard that was merged is right, and lies there twice."""
        with suppress(UserError):
            self._at(path).delete()

    def set_aside(self, path: Path) -> None:
        """Rename a damaged shard in the store, if it can be, so that it is copied no more."""
        source = self._at(path)
        with suppress(UserError, OSError):  # who only reads can't; or it is gone
            source.with_name(source.name + SET_ASIDE).write(files.read(source, shards.MAX_BYTES))
            source.delete()

    def _at(self, path: Path) -> RemotePath:
        return self.url / path.relative_to(self.folder)

    def _names(self, folder: Path) -> list[str]:
        """List the files of a folder in the store."""
        with self._bucket_errors():
            return [entry.name for entry in remote.list_files(self._at(folder))]

    @contextmanager
    def _bucket_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise UserError(
                f"{self.url} is not there; make its bucket, or name another `store`; what was computed is kept"
            ) from None

    def _fetch_shard(self, path: Path) -> bool | None:
        """Copy a shard, which is checked; return whether it is whole, or None where it is gone."""
        source = self._at(path)
        try:
            for _ in range(2):  # bytes may be lost on the way
                data = files.read(source, shards.MAX_BYTES)
                if files.sha256(data) == path.stem:
                    files.write(path, data)
                    path.chmod(_COPIED)
                    return True
            log.warning("a damaged shard is set aside, its rows are no longer used: %s", source)
            self.set_aside(path)
        except FileNotFoundError:
            return None
        except files.Unfit:
            log.warning("%s is too large for a shard, and is left as it is", source)
            return True
        return False


def _is_copied(path: Path) -> bool:
    try:
        return path.stat().st_mode & 0o777 == _COPIED
    except OSError:  # deleted in this moment
        return True
