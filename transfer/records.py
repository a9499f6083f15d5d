"""JSON files that others may have written: read, and held against the schema they say they keep."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from transfer.config import UserError

MAX_BYTES = 64_000_000


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file, `result` or `model`."""
    text = resources.files("transfer").joinpath(f"{name}.schema.json").read_text("utf-8")
    published: dict[str, Any] = json.loads(text)
    return published


def load(path: Path, kind: str) -> dict[str, Any]:
    """What a file of a kind, `result` or `model`, holds.

    Raises `UserError` for a file that is none, is of another version than this one's, or does not keep the schema.
    """
    import jsonschema  # imported here: a run never needs it

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than any {kind} file ({MAX_BYTES // 10**6} MB)")
        record = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no {kind} file: not JSON ({error})") from error
    published = schema(kind)
    wanted = published["properties"]["schema_version"]["const"]
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version != wanted:
        raise UserError(f"{path} is no {kind} file of version {wanted} (schema_version is {version!r})")
    try:
        jsonschema.validate(record, published)
    except jsonschema.ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise UserError(f"{path} is no valid {kind} file: at {where}, {error.message[:200]}") from error
    return dict(record)
