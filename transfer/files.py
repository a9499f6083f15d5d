"""Files of the store: written whole or not at all, known by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from transfer.config import UserError

# Of every file that the store keeps.
SCHEMA_VERSION = 1


def sha256(data: bytes | memoryview) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all, and durably: temporary beside it, fsync, rename, fsync the folder."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(
            f"can't write to the store at {path.parent} ({error.strerror}); what was done is kept"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
