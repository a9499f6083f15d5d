"""Bytes of images in files and in containers: a path below a file is that of a member of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transfer.data import arrow_images, tar_files
from transfer.system import files
from transfer.system.remote import RemotePath, known_stamp

READERS: dict[str, Callable[[Path, str, int], bytes]] = {
    ".tar": tar_files.read,
    ".arrow": arrow_images.read,
    ".parquet": arrow_images.read,
}
"""By the suffix of a container: what reads a member by its name, and at most so many bytes."""


def container_of(path: Path) -> Path | None:
    """Return the container that a path leads into; None for any other path."""
    found = (parent for parent in path.parents if parent.suffix.lower() in READERS)
    # A server is asked once whether there is such a file, not for each image in it.
    return next((parent for parent in found if known_stamp(str(parent)) or parent.is_file()), None)


def read(path: Path, max_bytes: int) -> bytes:
    """Read a file, or a member of a container: `shards/train-0.tar/cat/1.jpg`, `train.parquet/image/12/cat.jpg`.

    Parameters
    ----------
    path : Path
    max_bytes : int

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If it can't be read, or has more than `max_bytes` bytes.
    UserError
        If the container can't be read.
    """
    container = container_of(path) if isinstance(path, RemotePath) else None
    try:
        if container is None:
            return files.read(path, max_bytes)
    except NotADirectoryError:
        container = container_of(path)
        if container is None:
            raise
    return READERS[container.suffix.lower()](container, path.relative_to(container).as_posix(), max_bytes)
